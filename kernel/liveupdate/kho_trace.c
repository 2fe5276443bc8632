// SPDX-License-Identifier: GPL-2.0-only
/*
 * The trace events of KHO, out of line: what they cost, they cost only while they are
 * on. An event is for one piece of memory, as the list in debugfs has it: the number
 * of kho_preserve events less that of kho_unpreserve events is the number of pieces
 * that were added to the list. The functions for several pieces at once make one
 * event for each.
 */

#include <linux/kho_memdesc.h>
#include <linux/mm.h>

#define CREATE_TRACE_POINTS
#include <trace/events/kho.h>

#include "kexec_handover_internal.h"
#include "kho_map.h"
#include "kho_trace.h"

/* One piece was added to the map. */
void __kho_trace_preserve(unsigned long pfn, unsigned int order,
			  unsigned int type, unsigned long caller)
{
	trace_call__kho_preserve(pfn, order, type, caller);
}

/* @nr pieces were added to the map. @order is as kho_preserve_page_descs() has it. */
void __kho_trace_preserve_batch(struct page **pages, unsigned long nr,
				int order, unsigned int type,
				unsigned long caller)
{
	for (unsigned long i = 0; i < nr; i++)
		__kho_trace_preserve(page_to_pfn(pages[i]),
				     kho_batch_order(pages[i], order), type,
				     caller);
}

/* One piece was deleted from the map. */
void __kho_trace_unpreserve(unsigned long pfn, unsigned int order,
			    unsigned int type, unsigned long caller)
{
	trace_call__kho_unpreserve(pfn, order, type, caller);
}

/* One piece becomes memory in use. */
void __kho_trace_restore(struct page *page, unsigned int order,
			 unsigned int type, unsigned long caller)
{
	trace_call__kho_restore(page_to_pfn(page), order, type, caller);
}
