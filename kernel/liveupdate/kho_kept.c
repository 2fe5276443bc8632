// SPDX-License-Identifier: GPL-2.0-only
/*
 * Kept memory: this kernel does not understand how the memory is preserved, so
 * nobody gets it. kho_intake.c finds such memory while it checks the map.
 */

#include <linux/init.h>
#include <linux/kho_radix_tree.h>
#include <linux/string.h>

#include "kexec_handover_internal.h"

/* Does not change once the page allocator is up. */
struct kho_kept kho_kept;

/**
 * kho_kept_forget - forget which memory is kept
 *
 * Context: Early boot, when the handover as a whole cannot be used.
 */
void __init kho_kept_forget(void)
{
	kho_radix_destroy_tree(&kho_kept.tree);
	memset(&kho_kept, 0, sizeof(kho_kept));
}
