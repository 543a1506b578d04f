//! Can it learn, resume and stop?
