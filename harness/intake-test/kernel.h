/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What kernel/liveupdate/kho_intake.c and what belongs to it need of a kernel, for
 * harness/intake. Memory is a mapping of MEMORY_SIZE bytes whose physical addresses
 * are its virtual ones; its last SCRATCH_SIZE bytes are a scratch area.
 */
#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef uint64_t u64;
typedef uint32_t u32;
typedef uint16_t u16;
typedef uint8_t u8;
typedef u64 phys_addr_t;

#define PAGE_SHIFT 12
#define PAGE_SIZE 4096UL
#define BITS_PER_LONG 64
#define BITS_PER_BYTE 8
#define MAX_PAGE_ORDER 10
#define MAX_ORDER_NR_PAGES (1UL << MAX_PAGE_ORDER)
#define MAX_FOLIO_ORDER 22

/* Annotations. */
#define __init
#define __initdata
#define __initconst
#define __ref
#define noinline __attribute__((noinline))
#define likely(x) (x)
#define unlikely(x) (x)
#define EXPORT_SYMBOL_GPL(x) extern int dummy
#undef static_assert
#define static_assert(...) extern int dummy
#define BUILD_BUG_ON(x) ((void)0)
#define WARN_ON(x) (x)
#define WARN_ON_ONCE(x) (x)
#define might_sleep() ((void)0)

/* There is one thread. */
struct mutex { int locked; };
#define mutex_init(m) ((void)(m))
#define guard(what) (void)
#define READ_ONCE(x) (x)
#define WRITE_ONCE(x, v) ((x) = (v))
#define smp_store_release(p, v) (*(p) = (v))

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define min(a, b) ((a) < (b) ? (a) : (b))
#define max_t(t, a, b) ((t)(a) > (t)(b) ? (t)(a) : (t)(b))
#define roundup_pow_of_two(n) (1UL << (64 - __builtin_clzl((n) - 1)))
#define max(a, b) ((a) > (b) ? (a) : (b))
#define DIV_ROUND_UP(a, b) (((a) + (b) - 1) / (b))
#define ALIGN(x, a) (((x) + (a) - 1) & ~((a) - 1))
#define ALIGN_DOWN(x, a) ((x) & ~((__typeof__(x))(a) - 1))
#define round_down(x, a) ALIGN_DOWN(x, a)
#define IS_ALIGNED(x, a) (((x) & ((__typeof__(x))(a) - 1)) == 0)
#define PAGE_ALIGNED(x) IS_ALIGNED(x, PAGE_SIZE)
#define PHYS_PFN(x) ((unsigned long)((x) >> PAGE_SHIFT))
#define PFN_PHYS(x) ((phys_addr_t)(x) << PAGE_SHIFT)
#define PFN_UP(x) (((x) + PAGE_SIZE - 1) >> PAGE_SHIFT)
#define PFN_DOWN(x) ((x) >> PAGE_SHIFT)
#define check_add_overflow(a, b, sum) __builtin_add_overflow(a, b, sum)

#define IS_ERR(p) ((unsigned long)(p) > -4096UL)
#define IS_ERR_OR_NULL(p) (!(p) || IS_ERR(p))
#define PTR_ERR(p) ((long)(p))
#define ERR_PTR(err) ((void *)(long)(err))

#define BIT(n) (1UL << (n))
#define BIT_ULL(n) (1ULL << (n))
#define BIT_WORD(n) ((n) / BITS_PER_LONG)
#define BITS_TO_LONGS(n) DIV_ROUND_UP(n, BITS_PER_LONG)
#define BITMAP_FIRST_WORD_MASK(start) (~0UL << ((start) % BITS_PER_LONG))
#define BITMAP_LAST_WORD_MASK(n) (~0UL >> (-(n) % BITS_PER_LONG))
#define DECLARE_BITMAP(name, bits) unsigned long name[BITS_TO_LONGS(bits)]
#define const_ilog2(x) (63 - __builtin_clzll(x))
#define ilog2(x) const_ilog2(x)
#define GENMASK_ULL(high, low) (~0ULL >> (63 - (high)) & ~0ULL << (low))
#define hash_long(val, bits) ((val) * 0x61C8864680B583EBull >> (64 - (bits)))
#define cmp_int(a, b) (((a) > (b)) - ((a) < (b)))
#define sort(base, nr, size, cmp, swap) qsort(base, nr, size, cmp)
#define fls64(x) ((x) ? 64 - __builtin_clzll(x) : 0)
#define __ffs64(x) __builtin_ctzll(x)
#define __ffs(x) __builtin_ctzl(x)

static inline void __set_bit(unsigned long i, unsigned long *map)
{
	map[BIT_WORD(i)] |= BIT(i % BITS_PER_LONG);
}

static inline void __clear_bit(unsigned long i, unsigned long *map)
{
	map[BIT_WORD(i)] &= ~BIT(i % BITS_PER_LONG);
}

static inline bool test_bit(unsigned long i, const unsigned long *map)
{
	return map[BIT_WORD(i)] >> i % BITS_PER_LONG & 1;
}

static inline unsigned long find_next(const unsigned long *map, unsigned long end,
				      unsigned long i, bool set)
{
	while (i < end && test_bit(i, map) != set)
		i++;
	return min(i, end);
}

#define find_next_bit(map, end, i) find_next(map, end, i, true)
#define find_next_zero_bit(map, end, i) find_next(map, end, i, false)
#define find_first_bit(map, end) find_next(map, end, 0, true)
#define for_each_set_bit_from(i, map, end) \
	for (; (i) = find_next_bit(map, end, i), (i) < (end); (i)++)
#define for_each_set_bit(i, map, end) \
	for ((i) = 0; (i) = find_next_bit(map, end, i), (i) < (end); (i)++)
#define for_each_set_bitrange(i, stop, map, end) \
	for ((i) = 0; (i) = find_next_bit(map, end, i), \
	     (stop) = find_next(map, end, i, false), (i) < (end); (i) = (stop))

static inline void bitmap_set(unsigned long *map, unsigned long i, unsigned long nr)
{
	while (nr--)
		__set_bit(i++, map);
}

static inline void bitmap_clear(unsigned long *map, unsigned long i, unsigned long nr)
{
	while (nr--)
		__clear_bit(i++, map);
}

#define bitmap_zero(map, nr) memset(map, 0, (nr) / BITS_PER_BYTE)
#define bitmap_fill(map, nr) memset(map, 0xff, (nr) / BITS_PER_BYTE)

/* Memory, and memblock's idea of it. */
#define MEMORY_SIZE BIT(30)
#define SCRATCH_SIZE BIT(26)
static phys_addr_t memory;
#define phys_to_virt(p) ((void *)(unsigned long)(p))
#define virt_to_phys(v) ((phys_addr_t)(unsigned long)(v))
/* So much is behind the scratch area. */
static unsigned long more;
#define memblock_start_of_DRAM() memory
#define memblock_end_of_DRAM() (memory + MEMORY_SIZE + more)
#define NUMA_NO_NODE (-1)
#define is_kho_boot() true
/* The second half of memory is on another node. */
#define early_pfn_to_nid(pfn) ((pfn) >= PHYS_PFN(memory + MEMORY_SIZE / 2))
#define MEMBLOCK_HOTPLUG 0

static inline bool kho_scratch_overlap(phys_addr_t phys, u64 size)
{
	return phys < memory + MEMORY_SIZE &&
	       phys + size > memory + MEMORY_SIZE - SCRATCH_SIZE;
}

struct range { phys_addr_t start, end; };
static struct range free_ranges[8];
static unsigned int nr_free_ranges;
#define for_each_free_mem_range(i, nid, flags, p_start, p_end, p_nid) \
	for ((i) = 0; (i) < nr_free_ranges && \
	     (*(p_start) = free_ranges[i].start, *(p_end) = free_ranges[i].end, true); (i)++)

/* Where there is no memory. */
static struct range gap;
#define MAX_NUMNODES 2
#define for_each_mem_pfn_range(i, nid, p_start, p_end, p_nid) \
	for ((i) = 0; (i) < 2 && \
	     (*(p_start) = (i) ? PFN_UP(gap.end) : PHYS_PFN(memory), \
	      *(p_end) = PFN_DOWN((i) ? memblock_end_of_DRAM() : gap.start), true); (i)++)

/* What this boot reserves after the map was checked. */
struct memblock_region { phys_addr_t base, size; };
static struct memblock_region late[4];
static unsigned int nr_late;
#define for_each_reserved_mem_region(r) for ((r) = late; (r) < late + nr_late; (r)++)
#define memblock_region_reserved_base_pfn(r) PFN_DOWN((r)->base)
#define memblock_region_reserved_end_pfn(r) PFN_UP((r)->base + (r)->size)

/* Pages one after the other; how many may be had; how many are in use. */
static phys_addr_t next_page;
static long may_allocate, in_use;
#define slab_is_available() false
#define GFP_KERNEL 0
#define kho_alloc_folio(order) ((struct folio *)NULL)
#define folio_address(folio) ((void *)(folio))
#define free_page(addr) ((void)(addr))

static inline void *memblock_alloc(unsigned long size, unsigned long align)
{
	void *page = phys_to_virt(next_page);

	if (may_allocate-- <= 0)
		return NULL;
	next_page += size;
	assert(next_page <= memory + MEMORY_SIZE);
	in_use++;
	return memset(page, 0, size);
}

static inline void memblock_phys_free(phys_addr_t phys, unsigned long size)
{
	in_use--;
}

static inline void memblock_free(void *page, unsigned long size)
{
	in_use--;
}

/* Struct pages and the FDT are not looked at here. */
struct page { unsigned long private; };
static struct page some_page;
#define pfn_to_page(pfn) ((void)(pfn), &some_page)
#define kho_prep_pages(page, order, type) ((void)(page))
static unsigned long prepared_tails, prepared_heads;
#define kho_prep_tails(head, order, type, i, end) ((void)(head), prepared_tails += (end) - (i))
#define kho_prep_head(head, order, type) ((void)(head), prepared_heads++)
#define KHO_SUB_TREE_PROP_NAME "preserved-data"
#define KHO_SUB_TREE_SIZE_PROP_NAME "blob-size"
#define fdt_next_node(fdt, node, depth) (*(depth) = -1, 0)
#define fdt_for_each_subnode(node, fdt, parent) for ((node) = 0; (node) < 0; )
#define fdt_getprop(fdt, node, name, len) ((const void *)(*(len) = 0, NULL))
#define fdt_get_name(fdt, node, len) ""
#define fdt_nop_property(fdt, node, name) 0

/* The log. %pa is all that printf() does not have; it is relative to memory. */
static char klog[1 << 20];
static void pr_err(const char *format, ...)
{
	size_t len = strlen(klog);
	va_list args;

	va_start(args, format);
	while (*format) {
		char one[16] = {}, *end = klog + len;
		const size_t room = sizeof(klog) - len - 1;

		if (*format != '%') {
			klog[len++] = *format++;
			continue;
		}
		for (int i = 0; i < 15; i++) {
			one[i] = *format++;
			if (i && strchr("sdupx", one[i]))
				break;
		}
		if (!strcmp(one, "%p")) {
			format++;	/* %pa */
			snprintf(end, room, "%#lx", (unsigned long)
				 (*va_arg(args, phys_addr_t *) - memory));
		} else if (!strcmp(one, "%s")) {
			snprintf(end, room, "%s", va_arg(args, char *));
		} else if (!strcmp(one, "%u") || !strcmp(one, "%d")) {
			snprintf(end, room, one, va_arg(args, int));
		} else {
			snprintf(end, room, one, va_arg(args, unsigned long));
		}
		len = strlen(klog);
	}
	klog[len] = 0;	/* There may be an older log behind it. */
	va_end(args);
}
#define pr_err_ratelimited pr_err
