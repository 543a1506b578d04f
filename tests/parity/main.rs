//! Does Twinflame compute what open_clip computes? Fixtures: `tests/fixtures/README.md`.
mod fixture;
mod initial;
mod model;
mod preprocess;
mod step;
mod tokens;
mod zero_shot;
