/* SPDX-License-Identifier: GPL-2.0 */
/*
 * How to preserve a folio: in a kernel without the series, the functions that have
 * other names there.
 */
#ifndef _BENCH_FOLIO_H
#define _BENCH_FOLIO_H

#include <linux/kexec_handover.h>

#ifdef HAVE_KHO_FOLIOS
#include <linux/kho_memdesc.h>
#else
#define kho_folio_preserve(folio)	kho_preserve_folio(folio)
#define kho_folio_unpreserve(folio)	kho_unpreserve_folio(folio)
#define kho_folio_restore(phys)		kho_restore_folio(phys)
#endif

#endif /* _BENCH_FOLIO_H */
