/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The trace events of the hot paths. include/trace/events/kho.h defines the events.
 *
 * The code that fills in an event is out of line, in kho_trace.c: while an event is
 * off, a path pays one nop.
 */
#ifndef _KHO_TRACE_H
#define _KHO_TRACE_H

#include <linux/instruction_pointer.h>
#include <linux/tracepoint-defs.h>

struct page;

DECLARE_TRACEPOINT(kho_preserve);
DECLARE_TRACEPOINT(kho_unpreserve);
DECLARE_TRACEPOINT(kho_restore);

void __cold __kho_trace_preserve(unsigned long pfn, unsigned int order,
				 unsigned int type, unsigned long caller);
void __cold __kho_trace_preserve_batch(struct page **pages, unsigned long nr,
				       int order, unsigned int type,
				       unsigned long caller);
void __cold __kho_trace_unpreserve(unsigned long pfn, unsigned int order,
				   unsigned int type, unsigned long caller);
void __cold __kho_trace_restore(struct page *page, unsigned int order,
				unsigned int type, unsigned long caller);

/*
 * Who has called the function that calls this one as the last thing it does. Without
 * frame pointers that call is a jump.
 */
#ifdef CONFIG_FRAME_POINTER
#define KHO_OUTER_RET_IP ((unsigned long)__builtin_return_address(1))
#else
#define KHO_OUTER_RET_IP _RET_IP_
#endif

/*
 * These are macros, so that the address of the caller is only looked up if the
 * event is on.
 */
#define kho_trace_preserve(pfn, order, type, caller)			\
	do {								\
		if (tracepoint_enabled(kho_preserve))			\
			__kho_trace_preserve(pfn, order, type, caller);	\
	} while (0)

#define kho_trace_preserve_batch(pages, nr, order, type, caller)	\
	do {								\
		if (tracepoint_enabled(kho_preserve))			\
			__kho_trace_preserve_batch(pages, nr, order,	\
						   type, caller);	\
	} while (0)

#define kho_trace_unpreserve(pfn, order, type, caller)			\
	do {								\
		if (tracepoint_enabled(kho_unpreserve))			\
			__kho_trace_unpreserve(pfn, order, type, caller); \
	} while (0)

#define kho_trace_restore(page, order, type, caller)			\
	do {								\
		if (tracepoint_enabled(kho_restore))			\
			__kho_trace_restore(page, order, type, caller);	\
	} while (0)

#endif /* _KHO_TRACE_H */
