//! Can it learn, resume and stop?

mod backends;
mod resume;
mod stop;
