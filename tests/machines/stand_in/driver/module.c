/* STAND-IN for nvidia.ko: a real object file with the section that modinfo and depmod read, and no code. */
#define INFO(name, text) static const char name[] __attribute__((section(".modinfo"), used, aligned(1))) = text
INFO(version, "version=" VERSION);
INFO(license, "license=" LICENSE);
INFO(description, "description=STAND-IN for the NVIDIA driver");
INFO(name, "name=nvidia");
INFO(alias, "alias=pci:v000010DEd*sv*sd*bc03sc00i00*");
