// SPDX-License-Identifier: GPL-2.0-only
/*
 * A driver whose memory outlives a kexec.
 *
 * The driver has what drivers have: a structure from kmalloc() with a pointer to an
 * array from vmalloc(), some folios, and a buffer for DMA. When it is loaded in a
 * kernel that was started by a kexec with handover, it goes on with the memory that
 * it had in the previous kernel. Boot with kho=on, load the driver, kexec, and load
 * the driver again. The log has a line for each kernel:
 *
 *	kho_sample: generation 1: started, sum 0x...
 *	kho_sample: generation 2: went on, sum 0x...
 *
 * See Documentation/core-api/kho/drivers.rst.
 */

#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/array_size.h>
#include <linux/gfp.h>
#include <linux/io.h>
#include <linux/kexec_handover.h>
#include <linux/kho/abi/kexec_handover.h>
#include <linux/kho_memdesc.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/sizes.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>

#define SUBTREE		"kho-sample"
#define VERSION		1
#define NR_FOLIOS	4
#define TABLE_BYTES	SZ_256K
#define RING_BYTES	(3 * PAGE_SIZE)

/*
 * What the driver tells itself in the next kernel: an ABI, so it has a version, and
 * types of a fixed size. Addresses are physical.
 */
struct sample_ser {
	u32 version;
	u32 generation;
	u64 sum;
	u64 config;
	u64 folios[NR_FOLIOS];
	u64 ring;
	struct kho_vmalloc table;
};

/* Comes back as it was, with a pointer that means nothing to the next kernel. */
struct sample_config {
	u64 seed;
	u64 *table;
};

static struct sample {
	struct sample_config *config;
	struct folio *folios[NR_FOLIOS];
	void *ring;
	unsigned int generation;
	struct sample_ser *ser;
} sample;

static u64 sum_of(const void *mem, size_t bytes)
{
	const u64 *word = mem;
	u64 sum = 0;

	for (size_t i = 0; i < bytes / sizeof(*word); i++)
		sum = sum * 31 + word[i];
	return sum;
}

static u64 sample_sum(const struct sample *s)
{
	u64 sum = s->config->seed + sum_of(s->config->table, TABLE_BYTES) +
		  sum_of(s->ring, RING_BYTES);

	for (int i = 0; i < NR_FOLIOS; i++)
		sum = sum * 31 + sum_of(folio_address(s->folios[i]), PAGE_SIZE << i);
	return sum;
}

/* The ordinary free functions, wherever the memory came from. */
static void sample_free(struct sample *s)
{
	for (int i = 0; i < NR_FOLIOS; i++) {
		if (s->folios[i])
			folio_put(s->folios[i]);
	}
	if (s->ring)
		free_pages_exact(s->ring, RING_BYTES);
	if (s->config)
		vfree(s->config->table);
	kfree(s->config);
	*s = (struct sample){};
}

static int sample_alloc(struct sample *s)
{
	s->config = kzalloc_obj(*s->config);
	if (!s->config)
		return -ENOMEM;
	s->config->table = vmalloc(TABLE_BYTES);
	s->ring = alloc_pages_exact(RING_BYTES, GFP_KERNEL);
	if (!s->config->table || !s->ring)
		return -ENOMEM;
	for (int i = 0; i < NR_FOLIOS; i++) {
		s->folios[i] = folio_alloc(GFP_KERNEL, i);
		if (!s->folios[i])
			return -ENOMEM;
		memset(folio_address(s->folios[i]), i + 1, PAGE_SIZE << i);
	}
	s->config->seed = 42;
	memset(s->config->table, 0x5a, TABLE_BYTES);
	memset(s->ring, 0xa5, RING_BYTES);
	return 0;
}

/*
 * Preserve everything, or nothing: the next kernel finds the driver's memory when
 * the subtree is there, so that comes last. The memory can still be written to.
 */
static int sample_preserve(struct sample *s)
{
	struct sample_ser *ser = kho_alloc_preserve(sizeof(*ser));
	int err;

	if (IS_ERR(ser))
		return PTR_ERR(ser);

	err = kho_slab_preserve(s->config);
	if (err)
		goto free_ser;
	err = kho_vmalloc_preserve(s->config->table, &ser->table);
	if (err)
		goto undo_config;
	err = kho_folios_preserve(s->folios, NR_FOLIOS);
	if (err)
		goto undo_table;
	err = kho_pages_exact_preserve(s->ring, RING_BYTES);
	if (err)
		goto undo_folios;

	ser->version = VERSION;
	ser->generation = s->generation;
	ser->sum = sample_sum(s);
	ser->config = virt_to_phys(s->config);
	ser->ring = virt_to_phys(s->ring);
	for (int i = 0; i < NR_FOLIOS; i++)
		ser->folios[i] = PFN_PHYS(folio_pfn(s->folios[i]));

	err = kho_add_subtree(SUBTREE, ser, sizeof(*ser));
	if (err)
		goto undo_ring;
	s->ser = ser;
	return 0;

undo_ring:
	kho_pages_exact_unpreserve(s->ring, RING_BYTES);
undo_folios:
	kho_folios_unpreserve(s->folios, NR_FOLIOS);
undo_table:
	kho_vmalloc_unpreserve(&ser->table);
undo_config:
	kho_slab_unpreserve(s->config);
free_ser:
	kho_unpreserve_free(ser);
	return err;
}

static void sample_unpreserve(struct sample *s)
{
	if (!s->ser)
		return;
	kho_remove_subtree(s->ser);
	kho_pages_exact_unpreserve(s->ring, RING_BYTES);
	kho_folios_unpreserve(s->folios, NR_FOLIOS);
	kho_vmalloc_unpreserve(&s->ser->table);
	kho_slab_unpreserve(s->config);
	kho_unpreserve_free(s->ser);
	s->ser = NULL;
}

/*
 * Take everything back. What is restored belongs to this kernel, whatever happens to
 * the rest. What cannot be restored stays preserved: nobody gets that memory.
 */
static int sample_restore(struct sample *s, const struct sample_ser *ser)
{
	phys_addr_t phys[NR_FOLIOS];
	struct sample_config *config;
	void *table, *ring;
	int err;

	config = kho_slab_restore(ser->config);
	if (IS_ERR(config))
		return PTR_ERR(config);
	s->config = config;
	/* This is an address of the previous kernel. */
	config->table = NULL;

	table = kho_vmalloc_restore(&ser->table);
	if (IS_ERR(table))
		return PTR_ERR(table);
	config->table = table;

	ring = kho_pages_exact_restore(ser->ring, RING_BYTES);
	if (IS_ERR(ring))
		return PTR_ERR(ring);
	/* A driver maps the buffer for its device again: dma_map_single(). */
	s->ring = ring;

	for (int i = 0; i < NR_FOLIOS; i++)
		phys[i] = ser->folios[i];
	err = kho_folios_restore(phys, NR_FOLIOS, s->folios);
	if (err) {
		/* All of them or none: there are no folios. */
		memset(s->folios, 0, sizeof(s->folios));
		return err;
	}
	s->generation = ser->generation;
	return 0;
}

/* -ENOENT if nothing was handed over, or if it was taken back before. */
static int sample_go_on(struct sample *s)
{
	struct sample_ser *ser;
	struct folio *folio;
	phys_addr_t phys;
	size_t size;
	int err;

	err = kho_retrieve_subtree(SUBTREE, &phys, &size);
	if (err)
		return err;
	/*
	 * Restore the folio before reading it. If the driver was loaded in this
	 * kernel before, the folio is gone, and this fails.
	 */
	folio = kho_folio_restore(phys);
	if (IS_ERR(folio))
		return PTR_ERR(folio);
	ser = folio_address(folio);
	if (size == sizeof(*ser) && ser->version == VERSION) {
		err = sample_restore(s, ser);
		if (!err && sample_sum(s) != ser->sum)
			err = -EIO;
	} else {
		err = -EPROTO;
	}
	if (err)
		pr_err("cannot go on: %pe\n", ERR_PTR(err));
	folio_put(folio);
	return err;
}

static int __init kho_sample_init(void)
{
	struct sample *s = &sample;
	const bool went_on = !sample_go_on(s);
	int err;

	if (!went_on) {
		sample_free(s);
		err = sample_alloc(s);
		if (err) {
			sample_free(s);
			return err;
		}
	}
	s->generation++;

	/* Without KHO it is a driver like any other. */
	err = sample_preserve(s);
	if (err)
		pr_warn("the next kernel has to start anew: %pe\n", ERR_PTR(err));
	pr_info("generation %u: %s, sum %#llx\n", s->generation,
		went_on ? "went on" : "started", sample_sum(s));
	return 0;
}
module_init(kho_sample_init);

static void __exit kho_sample_exit(void)
{
	sample_unpreserve(&sample);
	sample_free(&sample);
}
module_exit(kho_sample_exit);

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("Sample driver whose memory outlives a kexec");
