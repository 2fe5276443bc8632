// SPDX-License-Identifier: GPL-2.0-only
/*
 * Translation that goes on while the kernel is replaced, in legacy mode.
 *
 * At a kexec an IOMMU with preserved devices is left on. Its root table and the
 * context tables of these devices stay where they are. The next kernel takes the
 * tables over before it would turn the IOMMU off, and gives each device the domain
 * that the context entry names. No entry of such a device is written meanwhile.
 *
 * Scalable mode, interrupt remapping, device TLBs and requester ID aliases are refused
 * when a device is preserved: each of them needs more tables to be handed over.
 */

#define pr_fmt(fmt)	"DMAR: " fmt

#include <linux/bitmap.h>
#include <linux/dmar.h>
#include <linux/iommu.h>
#include <linux/kexec_handover.h>
#include <linux/pci.h>

#include "iommu.h"
#include "../iommu-pages.h"
#include "../liveupdate.h"

#define NR_RIDS		BIT(16)
#define NR_BUSES	256
#define RIDS_PER_BUS	(NR_RIDS / NR_BUSES)

static bool bus_is_preserved(const struct intel_iommu *iommu, u8 bus)
{
	const unsigned long first = bus * RIDS_PER_BUS;

	return find_next_bit(iommu->preserved, first + RIDS_PER_BUS, first) <
	       first + RIDS_PER_BUS;
}

/* The context table of a bus, or NULL. Legacy mode has one for each bus. */
static struct context_entry *bus_context_table(struct intel_iommu *iommu, u8 bus)
{
	return iommu_context_addr(iommu, bus, 0, 0);
}

static int count_alias(struct pci_dev *pdev, u16 alias, void *nr)
{
	(*(unsigned int *)nr)++;
	return 0;
}

static const char *why_not_preserved(struct device *dev)
{
	struct device_domain_info *info = dev_iommu_priv_get(dev);
	struct intel_iommu *iommu = info->iommu;
	unsigned int aliases = 0;

	if (sm_supported(iommu))
		return "the IOMMU is in scalable mode";
#ifdef CONFIG_IRQ_REMAP
	if (iommu->ir_table)
		return "the IOMMU remaps interrupts";
#endif
	/* The context entry says so even if ATS could not be enabled. */
	if (info->ats_supported)
		return "the device caches translations";
	if (to_pci_dev(dev)->is_virtfn)
		return "it is a virtual function, which the next kernel turns off";
	if (dev_is_real_dma_subdevice(dev))
		return "the device has no requester ID of its own";
	pci_for_each_dma_alias(to_pci_dev(dev), count_alias, &aliases);
	if (aliases != 1)
		return "the device has more than one requester ID";
	return NULL;
}

/*
 * Preserve what leads to the context entry of a device and is not yet preserved. A
 * kexec at any time finds an IOMMU without preserved devices, or all that they need.
 */
static int preserve_unit(struct intel_iommu *iommu, u8 bus)
{
	unsigned long *preserved = NULL;
	int ret;

	if (!iommu->preserved) {
		preserved = bitmap_zalloc(NR_RIDS, GFP_KERNEL);
		if (!preserved)
			return -ENOMEM;
		ret = iommu_preserve_pages(iommu->root_entry);
		if (ret)
			goto free;
	}
	if (preserved || !bus_is_preserved(iommu, bus)) {
		ret = iommu_preserve_pages(bus_context_table(iommu, bus));
		if (ret)
			goto undo_root;
	}
	if (preserved) {
		/* Whoever sees the bitmap finds the tables preserved. */
		smp_store_release(&iommu->preserved, preserved);
	}
	return 0;

undo_root:
	if (preserved)
		iommu_unpreserve_pages(iommu->root_entry);
free:
	bitmap_free(preserved);
	return ret;
}

static int intel_iommu_preserve_device(struct device *dev,
				       struct iommu_device_ser *ser)
{
	struct device_domain_info *info = dev_iommu_priv_get(dev);
	const char *why = why_not_preserved(dev);
	struct intel_iommu *iommu = info->iommu;
	int ret;

	if (why) {
		dev_warn(dev, "cannot go on with its DMA: %s\n", why);
		return -EOPNOTSUPP;
	}
	ret = preserve_unit(iommu, info->bus);
	if (ret)
		return ret;
	ser->unit_phys = iommu->reg_phys;
	ser->root_phys = virt_to_phys(iommu->root_entry);
	ser->segment = info->segment;
	ser->rid = PCI_DEVID(info->bus, info->devfn);
	ser->did = domain_id_iommu(info->domain, iommu);
	set_bit(ser->rid, iommu->preserved);
	return 0;
}

static void intel_iommu_unpreserve_device(struct device *dev)
{
	struct device_domain_info *info = dev_iommu_priv_get(dev);
	struct intel_iommu *iommu = info->iommu;
	unsigned long *preserved = iommu->preserved;

	clear_bit(PCI_DEVID(info->bus, info->devfn), preserved);
	if (!bus_is_preserved(iommu, info->bus))
		iommu_unpreserve_pages(bus_context_table(iommu, info->bus));
	if (bitmap_empty(preserved, NR_RIDS)) {
		WRITE_ONCE(iommu->preserved, NULL);
		iommu_unpreserve_pages(iommu->root_entry);
		bitmap_free(preserved);
	}
}

static int intel_iommu_preserve_domain(struct iommu_domain *domain,
				       struct pt_iommu_ser *table)
{
	struct dmar_domain *dmar_domain = to_dmar_domain(domain);

	if (!intel_domain_is_ss_paging(dmar_domain) || domain->dirty_ops ||
	    dmar_domain->nested_parent) {
		pr_warn("cannot preserve a domain with a first stage page table, with nested domains, or that tracks dirty pages (-EOPNOTSUPP)\n");
		return -EOPNOTSUPP;
	}
	return pt_iommu_preserve(&dmar_domain->iommu, table);
}

static void intel_iommu_unpreserve_domain(struct iommu_domain *domain)
{
	pt_iommu_unpreserve(&to_dmar_domain(domain)->iommu);
}

static void clear_other_devices(struct intel_iommu *iommu, u8 bus)
{
	struct context_entry *table = bus_context_table(iommu, bus);

	for (unsigned int devfn = 0; devfn != RIDS_PER_BUS; devfn++) {
		if (!test_bit(PCI_DEVID(bus, devfn), iommu->preserved))
			context_clear_entry(&table[devfn]);
	}
	__iommu_flush_cache(iommu, table, VTD_PAGE_SIZE);
}

/**
 * intel_iommu_shutdown_preserved - leave an IOMMU on for its preserved devices
 * @iommu: the IOMMU
 *
 * All other devices are removed from its tables: the tables that they lead to are free
 * memory in the next kernel. Nothing stays in the caches of the IOMMU. Faults are
 * recorded, but cause no interrupt before the next kernel asks for one.
 *
 * Context: A kexec, on the last CPU, with interrupts off.
 * Return: whether the IOMMU has preserved devices.
 */
bool intel_iommu_shutdown_preserved(struct intel_iommu *iommu)
{
	if (!kho_kexec_in_progress() || !iommu->preserved ||
	    bitmap_empty(iommu->preserved, NR_RIDS))
		return false;

	for (unsigned int bus = 0; bus != NR_BUSES; bus++) {
		if (!bus_context_table(iommu, bus))
			continue;
		if (bus_is_preserved(iommu, bus))
			clear_other_devices(iommu, bus);
		else
			iommu->root_entry[bus].lo = 0;
	}
	__iommu_flush_cache(iommu, iommu->root_entry, VTD_PAGE_SIZE);

	writel(DMA_FECTL_IM, iommu->reg + DMAR_FECTL_REG);
	iommu_flush_write_buffer(iommu);
	iommu->flush.flush_context(iommu, 0, 0, 0, DMA_CCMD_GLOBAL_INVL);
	iommu->flush.flush_iotlb(iommu, 0, 0, 0, DMA_TLB_GLOBAL_FLUSH);
	return true;
}

/* Is the entry, word for word, what the previous kernel has written? */
static bool context_agrees(const struct intel_iommu *iommu,
			   const struct context_entry *context,
			   const struct iommu_device_ser *ser)
{
	struct context_entry expected = {};

	if (ser->did < IDA_START_DID || ser->did >= iommu->max_domain_id)
		return false;
	context_set_domain_id(&expected, ser->did);
	context_set_address_root(&expected, ser->table.top_phys);
	context_set_address_width(&expected, ser->table.top_level - 1);
	context_set_translation_type(&expected, CONTEXT_TT_MULTI_LEVEL);
	context_set_fault_enable(&expected);
	context_set_present(&expected);
	return expected.lo == context->lo && expected.hi == context->hi;
}

/* Two page tables with one ID would be mixed up in the caches of the IOMMU. */
static bool did_is_ambiguous(struct intel_iommu *iommu,
			     const struct iommu_device_ser *ser)
{
	const struct iommu_device_ser *other = NULL;

	while ((other = iommu_incoming_next(iommu->reg_phys, other))) {
		if (other->did == ser->did &&
		    memcmp(&other->table, &ser->table, sizeof(ser->table)))
			return true;
	}
	return false;
}

/* Claim the tables. Nothing of them is read before they are claimed. */
static int claim_tables(struct intel_iommu *iommu, u64 root_phys,
			struct iommu_pages_list *list)
{
	struct root_entry *root;
	int ret;

	ret = iommu_claim_pages(root_phys, SZ_4K, list);
	if (ret)
		return ret;
	root = phys_to_virt(root_phys);
	for (unsigned int bus = 0; bus != NR_BUSES; bus++) {
		if (!(root[bus].lo & 1) && !root[bus].hi)
			continue;
		if (root[bus].hi || (root[bus].lo & ~VTD_PAGE_MASK) != 1)
			return -EINVAL;
		ret = iommu_claim_pages(root[bus].lo & VTD_PAGE_MASK, SZ_4K, list);
		if (ret)
			return ret;
	}
	return 0;
}

static bool translation_is_on(struct intel_iommu *iommu)
{
	return readl(iommu->reg + DMAR_GSTS_REG) & DMA_GSTS_TES;
}

static const char *why_not_restored(struct intel_iommu *iommu, u64 root_phys)
{
	if (!translation_is_on(iommu))
		return "the IOMMU is off";
	if (readq(iommu->reg + DMAR_RTADDR_REG) != root_phys)
		return "the IOMMU has another root table";
	return NULL;
}

/*
 * Block every device that has an entry and is not on the list, or whose entry does not
 * agree with the list. All other devices keep their domain IDs.
 */
static void check_contexts(struct intel_iommu *iommu, u8 bus)
{
	struct context_entry *table = bus_context_table(iommu, bus);
	const struct iommu_device_ser *ser;

	for (unsigned int devfn = 0; devfn != RIDS_PER_BUS; devfn++) {
		struct context_entry *context = &table[devfn];
		const u16 rid = PCI_DEVID(bus, devfn);

		if (!context->lo && !context->hi)
			continue;
		ser = iommu_incoming_find(iommu->reg_phys, iommu->segment, rid);
		if (ser && context_agrees(iommu, context, ser) &&
		    !did_is_ambiguous(iommu, ser))
			continue;
		pr_err("%s: the context entry of %02x:%02x.%d is not as it was preserved: its DMA is blocked\n",
		       iommu->name, bus, PCI_SLOT(devfn), PCI_FUNC(devfn));
		context_clear_entry(context);
		__iommu_flush_cache(iommu, context, sizeof(*context));
	}
}

/* Devices that share a domain share the ID, which is reserved already then. */
static void reserve_domain_ids(struct intel_iommu *iommu)
{
	const struct iommu_device_ser *ser = NULL;

	while ((ser = iommu_incoming_next(iommu->reg_phys, ser))) {
		struct context_entry *context =
			iommu_context_addr(iommu, PCI_BUS_NUM(ser->rid),
					   ser->rid & 0xff, 0);

		if (!context || !context_present(context) ||
		    ida_alloc_range(&iommu->domain_ida, ser->did, ser->did,
				    GFP_KERNEL) != -ENOMEM)
			continue;
		pr_err("%s: no memory for the domain ID of %02x:%02x.%d: its DMA is blocked\n",
		       iommu->name, PCI_BUS_NUM(ser->rid), PCI_SLOT(ser->rid),
		       PCI_FUNC(ser->rid));
		context_clear_entry(context);
		__iommu_flush_cache(iommu, context, sizeof(*context));
	}
}

/**
 * intel_iommu_restore_tables - take over the tables of an IOMMU that was left on
 * @iommu: the IOMMU
 *
 * If this fails, the bus mastering of its devices is turned off, and the IOMMU blocks
 * all devices as soon as it gets the empty root table of this kernel. The IOMMU is
 * not turned off meanwhile: no device may go on without translation. Devices that are
 * not on the list were stopped when the list was read.
 *
 * Context: Process context, may sleep. Called before the IOMMU would be turned off.
 * Return: 0 if @iommu has its root table. -EINVAL if the tables are not taken over, and
 *	@iommu is to stay on. -ENOENT if the previous kernel has not left @iommu on for
 *	any device, or this kernel uses scalable mode: that mode can be entered only
 *	while the IOMMU is off.
 */
int intel_iommu_restore_tables(struct intel_iommu *iommu)
{
	struct iommu_pages_list list = IOMMU_PAGES_LIST_INIT(list);
	const struct iommu_device_ser *ser;
	const char *why;
	int ret;

	ser = iommu_incoming_next(iommu->reg_phys, NULL);
	if (!ser && (!translation_is_on(iommu) || !iommu_incoming_any() ||
		     sm_supported(iommu)))
		return -ENOENT;
	if (!ser) {
		pr_err("%s: was left on, but the list does not name it: all devices are blocked\n",
		       iommu->name);
		return -EINVAL;
	}

	if (sm_supported(iommu)) {
		pr_err("%s: devices cannot go on with their DMA: this kernel uses scalable mode\n",
		       iommu->name);
		iommu_incoming_stop(iommu->reg_phys);
		return -ENOENT;
	}
	why = why_not_restored(iommu, ser->root_phys);
	ret = why ? -EINVAL : claim_tables(iommu, ser->root_phys, &list);
	if (ret) {
		iommu_abort_pages(&list);
		pr_err("%s: devices cannot go on with their DMA: %s (%pe)\n",
		       iommu->name, why ?: "the tables are damaged", ERR_PTR(ret));
		iommu_incoming_stop(iommu->reg_phys);
		return -EINVAL;
	}
	iommu_commit_pages(&list);
	iommu_pages_list_release(&list);
	iommu->root_entry = phys_to_virt(ser->root_phys);
	for (unsigned int bus = 0; bus != NR_BUSES; bus++) {
		if (bus_context_table(iommu, bus))
			check_contexts(iommu, bus);
	}
	reserve_domain_ids(iommu);
	pr_info("%s: goes on with the tables of the previous kernel\n",
		iommu->name);
	return 0;
}

/**
 * intel_iommu_forget_restored - give up what intel_iommu_restore_tables() has done
 * @iommu: the IOMMU, which is about to be turned off, and its tables to be freed
 *
 * Context: Process context, may sleep.
 */
void intel_iommu_forget_restored(struct intel_iommu *iommu)
{
	if (!iommu_incoming_next(iommu->reg_phys, NULL))
		return;
	iommu_incoming_stop(iommu->reg_phys);
	ida_destroy(&iommu->domain_ida);
}

static int intel_iommu_restore_device(struct iommu_domain *domain,
				      struct device *dev,
				      const struct iommu_device_ser *ser)
{
	struct device_domain_info *info = dev_iommu_priv_get(dev);
	struct intel_iommu *iommu = info->iommu;
	struct context_entry *context;
	int ret;

	if (iommu->reg_phys != ser->unit_phys || why_not_preserved(dev))
		return -EINVAL;
	context = iommu_context_addr(iommu, info->bus, info->devfn, 0);
	if (!context || !context_agrees(iommu, context, ser))
		return -EINVAL;
	ret = paging_domain_compatible(domain, dev);
	if (ret)
		return ret;
	return dmar_domain_attach_restored(to_dmar_domain(domain), dev, ser->did);
}

/* Does another device use the domain ID? */
static bool did_is_used(struct intel_iommu *iommu,
			const struct iommu_device_ser *ser)
{
	for (unsigned int bus = 0; bus != NR_BUSES; bus++) {
		struct context_entry *table = bus_context_table(iommu, bus);

		for (unsigned int devfn = 0; table && devfn != RIDS_PER_BUS; devfn++) {
			if (context_present(&table[devfn]) &&
			    context_domain_id(&table[devfn]) == ser->did)
				return true;
		}
	}
	return false;
}

static void abandon_device(struct intel_iommu *iommu,
			   const struct iommu_device_ser *ser)
{
	struct context_entry *context;

	scoped_guard(spinlock, &iommu->lock) {
		context = iommu_context_addr(iommu, PCI_BUS_NUM(ser->rid),
					     ser->rid & 0xff, 0);
		if (!context || !context_agrees(iommu, context, ser))
			return;
		context_clear_entry(context);
		__iommu_flush_cache(iommu, context, sizeof(*context));
	}
	iommu->flush.flush_context(iommu, ser->did, ser->rid, DMA_CCMD_MASK_NOBIT,
				   DMA_CCMD_DEVICE_INVL);
	iommu->flush.flush_iotlb(iommu, ser->did, 0, 0, DMA_TLB_DSI_FLUSH);
	if (!did_is_used(iommu, ser))
		ida_free(&iommu->domain_ida, ser->did);
}

static void intel_iommu_abandon_device(const struct iommu_device_ser *ser)
{
	struct dmar_drhd_unit *drhd;
	struct intel_iommu *iommu;

	rcu_read_lock();
	for_each_active_iommu(iommu, drhd) {
		if (iommu->reg_phys == ser->unit_phys && iommu->root_entry)
			abandon_device(iommu, ser);
	}
	rcu_read_unlock();
}

/* Devices that were not found. One that comes later starts anew, and is blocked. */
static int __init intel_iommu_abandon_gone(void)
{
	const struct iommu_device_ser *ser;
	struct dmar_drhd_unit *drhd;
	struct intel_iommu *iommu;

	if (!intel_iommu_enabled)
		return 0;
	down_read(&dmar_global_lock);
	for_each_active_iommu(iommu, drhd) {
		ser = NULL;
		while ((ser = iommu_incoming_next(iommu->reg_phys, ser))) {
			pr_err("%s: %02x:%02x.%d, whose DMA was to go on, is gone\n",
			       iommu->name, PCI_BUS_NUM(ser->rid),
			       PCI_SLOT(ser->rid), PCI_FUNC(ser->rid));
			if (iommu->root_entry)
				abandon_device(iommu, ser);
			iommu_incoming_drop(ser);
		}
	}
	up_read(&dmar_global_lock);
	return 0;
}
late_initcall(intel_iommu_abandon_gone);

const struct iommu_liveupdate_ops intel_iommu_liveupdate_ops = {
	.preserve_domain	= intel_iommu_preserve_domain,
	.unpreserve_domain	= intel_iommu_unpreserve_domain,
	.preserve_device	= intel_iommu_preserve_device,
	.unpreserve_device	= intel_iommu_unpreserve_device,
	.restore_domain		= intel_iommu_restore_domain,
	.restore_device		= intel_iommu_restore_device,
	.abandon_device		= intel_iommu_abandon_device,
};
