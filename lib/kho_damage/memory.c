// SPDX-License-Identifier: GPL-2.0-only
/*
 * Damage what this kernel hands over by kexec: take memory from the next
 * kernel, by reservations or by words on its command line.
 */

#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/init.h>
#include <linux/io.h>
#include <linux/kho/abi/kexec_handover.h>
#include <linux/kho/abi/memdesc.h>
#include <linux/kstrtox.h>
#include <linux/memblock.h>
#include <linux/minmax.h>
#include <linux/mm.h>
#include <linux/nodemask.h>
#include <linux/printk.h>
#include <linux/sizes.h>

#ifdef CONFIG_X86
#include <asm/x86_init.h>
#endif

#include "../../kernel/liveupdate/kexec_handover_internal.h"
#include "khd.h"

/* The next kernel reserves a page at @phys, after it has checked the map. */
int khd_late_reserve(phys_addr_t phys)
{
	pr_info("word test_kho_memdesc.reserve=%#llx\n", phys);
	return 0;
}

/*
 * Memory of which the next kernel reserves one page. All of it is lost, but for
 * memory that is kept: the rest of that stays kept.
 */
int khd_reserved(u64 type)
{
	phys_addr_t phys = khd_new_pages(3);
	int err;

	if (!phys)
		return -ENOMEM;
	if (type < KHO_NR_MEMDESC)
		err = khd_add_pages(phys, 3, type);
	else
		err = khd_keep_pages(phys, 3, type);
	pr_info("expect lost 1\n");
	return err ?: khd_late_reserve(phys + 5 * PAGE_SIZE);
}

static phys_addr_t khd_needed(u64 needed)
{
	return virt_to_phys(needed == KHD_NEEDS_FDT ? kho_out.fdt :
						      (void *)khd_map.root);
}

int khd_needed_reserved(u64 needed)
{
	khd_late_reserve(khd_needed(needed));
	return khd_refused();
}

static int khd_no_page(phys_addr_t phys)
{
	pr_info("word memmap=4K$%#llx\n", phys);
	return 0;
}

int khd_memmap_needed(u64 needed)
{
	phys_addr_t phys = khd_needed(needed);

	khd_no_page(phys);
	if (needed == KHD_NEEDS_MAP)
		khd_expect("node", phys);
	return khd_refused();
}

static phys_addr_t khd_start_of_memory(void)
{
	unsigned long start = ULONG_MAX;
	int nid;

	for_each_online_node(nid)
		start = min(start, NODE_DATA(nid)->node_start_pfn);
	/* x86 counts from 0, even where there is no memory. */
	return IS_ENABLED(CONFIG_X86) ? 0 : PFN_PHYS(start);
}

/* The next kernel has no memory from there on. It needs some memory to boot. */
int khd_mem_needed(u64 needed)
{
	phys_addr_t phys = khd_needed(needed);

	if (IS_ENABLED(CONFIG_X86) && phys < SZ_512M)
		return khd_memmap_needed(needed);
	pr_info("word mem=%llu\n", phys - khd_start_of_memory());
	/* The FDT may be lost with the map. Nobody looks for the map then. */
	if (needed == KHD_NEEDS_MAP && phys > khd_needed(KHD_NEEDS_FDT))
		khd_expect("node", phys);
	return khd_refused();
}

#ifdef CONFIG_X86
/* One page of the memory is not there in the next kernel. The others are kept. */
int khd_memmap(u64 arg)
{
	unsigned int order = arg >> 32;
	phys_addr_t phys = khd_new_pages(order);

	if (!phys)
		return -ENOMEM;
	khd_no_page(phys + (order ? 7 * PAGE_SIZE : 0));
	if (order)
		return khd_keep_pages(phys, order, (u32)arg);
	return khd_bad_pages(phys, order, (u32)arg);
}

/*
 * Called in the next kernel, near the end of setup_arch(): allocate all memory
 * in the scratch areas but a few pages. The map is checked directly after
 * setup_arch(), so that nothing else runs out of memory before.
 */
static unsigned int khd_scratch_pages __initdata;
static void (*khd_wallclock_init)(void) __initdata;

static void __init khd_use_scratch(void)
{
	const phys_addr_t size = khd_scratch_pages * PAGE_SIZE;
	phys_addr_t left = size ? memblock_phys_alloc(size, PAGE_SIZE) : 0;

	khd_wallclock_init();
	for (size_t used = SZ_64M; used >= PAGE_SIZE; used /= 2) {
		while (memblock_phys_alloc(used, PAGE_SIZE))
			;
	}
	if (size)
		memblock_phys_free(left, size);
}

static int __init khd_parse_scratch(char *val)
{
	if (kstrtouint(val, 0, &khd_scratch_pages))
		return -EINVAL;
	khd_wallclock_init = x86_init.timers.wallclock_init;
	x86_init.timers.wallclock_init = khd_use_scratch;
	return 0;
}
early_param("test_kho_damage.scratch", khd_parse_scratch);

/* The check of the map, in the next kernel, finds no memory for a list of nodes. */
int khd_scratch_used(u64 pages)
{
	pr_info("word test_kho_damage.scratch=%llu\n", pages);
	/* There is no other console so early. */
	pr_info("word earlycon=uart8250,io,0x3f8\n");
	pr_info("expect no region\n");
	return 0;
}
#endif
