//! Is the loader a pure function of seed, epoch and index?
