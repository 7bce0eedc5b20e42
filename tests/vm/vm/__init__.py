"""Drives a payload that is a whole machine: Debian 12 in qemu, with a real /dev/ttyUSB0, that reboots and loses power."""
