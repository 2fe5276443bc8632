/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Memory that the previous kernel has handed over and that nobody restores: what can
 * be done with it. kho_unclaimed.c finds the memory, kho_release.c gives it to the page
 * allocator, and kho_forward.c hands it over to the next kernel.
 */
#ifndef _KHO_UNCLAIMED_H
#define _KHO_UNCLAIMED_H

#include <linux/types.h>

#include "kexec_handover_internal.h"

/* Where a subtree lies. */
struct kho_blob {
	const char *name;
	phys_addr_t start;
	phys_addr_t last;
};

/* What to do with which memory, and what was done. */
struct kho_unclaimed {
	bool forward;		/* forward the memory, do not release it */
	unsigned int type;	/* KHO_NR_MEMDESC: all */
	phys_addr_t start;
	phys_addr_t last;	/* the last byte */
	unsigned long pieces;
	unsigned long pages;
	unsigned long objects;	/* of slabs in use, and tables of pages in use */
	unsigned long bad;	/* pieces left alone: hardware errors */
	/* Release: pieces left alone, because subtrees lie there. Forward: subtrees. */
	unsigned long subtrees;
	unsigned long subtrees_left; /* not forwarded */
	unsigned long refused;	/* pieces left alone for another reason */
	int err;		/* why one of these was */
	struct kho_blob *blobs;	/* where subtrees lie */
	unsigned int nr_blobs;
};

int kho_unclaimed_check_stamp(phys_addr_t phys, unsigned int order,
			      enum kho_memdesc type);

/* kho_release.c */
int kho_release(struct kho_unclaimed *u, phys_addr_t phys, unsigned int order,
		enum kho_memdesc type);

/* kho_forward.c */
void kho_forward_subtrees(struct kho_unclaimed *u);

/* kho_slab_unclaimed.c */
int kho_slab_know_unclaimed(void);
int kho_slab_release(phys_addr_t phys, unsigned long *objects);
void kho_slab_release_copies(void);

/* kho_slab_restore.c */
void kho_slab_close(void);

/* kho_slab_forward.c */
int kho_slab_forward(phys_addr_t phys, unsigned long *objects);
unsigned int kho_slab_forward_copies(void);

#endif /* _KHO_UNCLAIMED_H */
