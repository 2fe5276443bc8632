/* SPDX-License-Identifier: GPL-2.0 */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM kho

#if !defined(_TRACE_KHO_H) || defined(TRACE_HEADER_MULTI_READ)
#define _TRACE_KHO_H

#include <linux/kho/abi/memdesc.h>
#include <linux/pfn.h>
#include <linux/tracepoint.h>

/* In kernel/liveupdate/kho_check.c. */
const char *kho_memdesc_name(unsigned int type);

/*
 * The type is recorded as its name, which is the name that debugfs shows: so
 * filters and histograms can use the name.
 */
DECLARE_EVENT_CLASS(kho_memory,
		    TP_PROTO(unsigned long pfn, unsigned int order,
			     unsigned int type, unsigned long caller),
		    TP_ARGS(pfn, order, type, caller),
		    TP_STRUCT__entry(__string(type, kho_memdesc_name(type))
				     __field(u64, start)
				     __field(unsigned long, pages)
				     __field(unsigned long, caller)
		    ),
		    TP_fast_assign(__assign_str(type);
				   __entry->start = PFN_PHYS(pfn);
				   __entry->pages = 1UL << order;
				   __entry->caller = caller;
		    ),
		    TP_printk("type=\"%s\" start=0x%llx pages=%lu caller=%ps",
			      __get_str(type), __entry->start, __entry->pages,
			      (void *)__entry->caller)
);

/* A piece of memory was added to the map of this kernel. */
DEFINE_EVENT(kho_memory, kho_preserve,
	     TP_PROTO(unsigned long pfn, unsigned int order, unsigned int type,
		      unsigned long caller),
	     TP_ARGS(pfn, order, type, caller)
);

/* A piece was deleted from the map. */
DEFINE_EVENT(kho_memory, kho_unpreserve,
	     TP_PROTO(unsigned long pfn, unsigned int order, unsigned int type,
		      unsigned long caller),
	     TP_ARGS(pfn, order, type, caller)
);

/* A piece of the previous kernel's map becomes memory in use. */
DEFINE_EVENT(kho_memory, kho_restore,
	     TP_PROTO(unsigned long pfn, unsigned int order, unsigned int type,
		      unsigned long caller),
	     TP_ARGS(pfn, order, type, caller)
);

/* Something was refused, which the log says as well, but not each time. */
TRACE_EVENT(kho_refuse,
	    TP_PROTO(const char *verb, u64 phys, unsigned int order,
		     unsigned int type, int err, const char *why,
		     unsigned long caller),
	    TP_ARGS(verb, phys, order, type, err, why, caller),
	    TP_STRUCT__entry(__string(verb, verb)
			     __string(type, kho_memdesc_name(type))
			     __string(why, why)
			     __field(u64, start)
			     __field(unsigned long, pages)
			     __field(int, err)
			     __field(unsigned long, caller)
	    ),
	    TP_fast_assign(__assign_str(verb);
			   __assign_str(type);
			   __assign_str(why);
			   __entry->start = phys;
			   /* The order can be what was refused. */
			   __entry->pages = order < BITS_PER_LONG ?
					    1UL << order : 0;
			   __entry->err = err;
			   __entry->caller = caller;
	    ),
	    TP_printk("verb=%s type=\"%s\" start=0x%llx pages=%lu err=%d why=\"%s\" caller=%ps",
		      __get_str(verb), __get_str(type), __entry->start,
		      __entry->pages, __entry->err, __get_str(why),
		      (void *)__entry->caller)
);

/*
 * An unclaimed piece went to the page allocator, or stays because of @err. A
 * piece that goes is restored first: see kho_restore.
 */
TRACE_EVENT(kho_release,
	    TP_PROTO(u64 phys, unsigned int order, unsigned int type, int err),
	    TP_ARGS(phys, order, type, err),
	    TP_STRUCT__entry(__string(type, kho_memdesc_name(type))
			     __field(u64, start)
			     __field(unsigned long, pages)
			     __field(int, err)
	    ),
	    TP_fast_assign(__assign_str(type);
			   __entry->start = phys;
			   __entry->pages = 1UL << order;
			   __entry->err = err;
	    ),
	    TP_printk("type=\"%s\" start=0x%llx pages=%lu err=%d",
		      __get_str(type), __entry->start, __entry->pages,
		      __entry->err)
);

/* A cache of this kernel got a slab of the previous one. */
TRACE_EVENT(kho_adopt,
	    TP_PROTO(u64 phys, unsigned int order, const char *cache,
		     unsigned int objects),
	    TP_ARGS(phys, order, cache, objects),
	    TP_STRUCT__entry(__string(cache, cache)
			     __field(u64, start)
			     __field(unsigned long, pages)
			     __field(unsigned int, objects)
	    ),
	    TP_fast_assign(__assign_str(cache);
			   __entry->start = phys;
			   __entry->pages = 1UL << order;
			   __entry->objects = objects;
	    ),
	    TP_printk("cache=%s start=0x%llx pages=%lu objects=%u",
		      __get_str(cache), __entry->start, __entry->pages,
		      __entry->objects)
);

#endif /* _TRACE_KHO_H */

/* This part must be outside protection */
#include <trace/define_trace.h>
