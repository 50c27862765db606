/* STAND-IN for libcuda.so.1: a library of that name and version with the one call that a check of it makes. */
int cuInit(unsigned flags) { (void)flags; return 0; }
int cuDriverGetVersion(int *version) { *version = CUDA; return 0; }
