/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What an image of a kernel says about the handovers that this kernel reads. The
 * kernel that loads the image for a kexec looks for it.
 *
 * The note is text, in a part of the image that is not compressed, at an address that
 * is a multiple of 4: the magic, the formats with a blank between two of them, and a 0.
 * On x86 it is in kernel_info (Documentation/arch/x86/boot.rst). A kernel without a
 * note is older than the note, or reads nothing.
 *
 * Assembler code includes this file, too.
 */
#ifndef _LINUX_KHO_ABI_FORMATS_H
#define _LINUX_KHO_ABI_FORMATS_H

/* 16 characters */
#define KHO_FORMATS_MAGIC	"KHO reads these:"

/* As in "compatible" of the FDT that is handed over. */
#define KHO_FORMATS_READ	"kho-v4 kho-v5"

#endif /* _LINUX_KHO_ABI_FORMATS_H */
