//! What does a user see on the command line?
