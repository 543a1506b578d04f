//! Can it learn, resume and stop?

mod resume;
mod stop;
