#pragma once

namespace refract {

// HDF5 as this house uses it: no file locks (renames exclude writers, and network file systems
// refuse locks), no printing of error stacks. The store does it before its first call; a program
// that uses MPI, before MPI starts: HDF5 that finds MPI running has MPI_Finalize close whatever is
// open, and crashes there on a file whose close failed (a full disk).
void begin_hdf5();

}  // namespace refract
