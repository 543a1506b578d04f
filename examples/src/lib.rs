//! Programs against the library, one idea each: see the files beside this folder.
