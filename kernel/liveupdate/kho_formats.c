// SPDX-License-Identifier: GPL-2.0-only
/*
 * Does the next kernel read what this one hands over? After the kexec it is too late to
 * find out: a kernel that does not know the format boots without the memory.
 */

#define pr_fmt(fmt) "KHO: " fmt

#include <linux/array_size.h>
#include <linux/kho/abi/formats.h>
#include <linux/kho/abi/kexec_handover.h>
#include <linux/minmax.h>
#include <linux/printk.h>
#include <linux/string.h>

#include "kexec_handover_internal.h"

#define KHO_FORMATS_MAGIC_LEN	(sizeof(KHO_FORMATS_MAGIC) - 1)
static_assert(KHO_FORMATS_MAGIC_LEN == 16);

/* The longest list that a note can have, its 0 included. */
#define KHO_FORMATS_LEN		256

/*
 * The note in the image of this kernel, where that is not compressed. It is also what to
 * look for: a second copy of the magic in the image would be found as a note.
 */
static const char kho_formats_note[] __used __aligned(4) =
	KHO_FORMATS_MAGIC KHO_FORMATS_READ;

/* The list in the note of an image, or NULL. */
static const char *kho_find_formats(const char *image, unsigned long len)
{
	const char *list;

	for (; len > KHO_FORMATS_MAGIC_LEN; image += 4, len -= 4) {
		if (memcmp(image, kho_formats_note, KHO_FORMATS_MAGIC_LEN))
			continue;
		list = image + KHO_FORMATS_MAGIC_LEN;
		len = min(len - KHO_FORMATS_MAGIC_LEN, KHO_FORMATS_LEN);
		return strnlen(list, len) < len ? list : NULL;
	}
	return NULL;
}

static bool kho_formats_have(const char *list, const char *format)
{
	const size_t len = strlen(format);

	for (; *list; list += strcspn(list, " "), list += strspn(list, " ")) {
		if (!strncmp(list, format, len) &&
		    (!list[len] || list[len] == ' '))
			return true;
	}
	return false;
}

/**
 * kho_check_formats - say whether a kernel reads what this one hands over
 * @image: its image, as it was loaded
 * @len: bytes
 *
 * Nothing is refused: somebody who hands nothing over may execute any kernel.
 *
 * Context: Any.
 */
void kho_check_formats(const char *image, unsigned long len)
{
	const char *format = kho_write_v4 ? KHO_FDT_COMPATIBLE_V4 :
					    KHO_FDT_COMPATIBLE;
	const char *list = kho_find_formats(image, len);

	if (list && kho_formats_have(list, format))
		pr_info("the loaded kernel reads %s, which this kernel writes\n",
			format);
	else if (list)
		pr_warn("the loaded kernel reads %s: it will lose all that is handed over, which is %s\n",
			list, format);
	else if (!kho_write_v4)
		pr_warn("the loaded kernel does not say what it reads: if it does not read %s, it will lose all that is handed over (kho_format=v4 is for Linux 7.3)\n",
			format);
}
