// SPDX-License-Identifier: GPL-2.0-only
/*
 * Devices whose DMA has gone on while the kernel was replaced: the list that came from
 * the previous kernel. The counterpart is liveupdate.c.
 */

#define pr_fmt(fmt) "iommu: " fmt

#include <linux/cleanup.h>
#include <linux/io.h>
#include <linux/kexec_handover.h>
#include <linux/kho_memdesc.h>
#include <linux/mm.h>
#include <linux/mutex.h>
#include <linux/overflow.h>
#include <linux/pci.h>
#include <linux/slab.h>

#include "iommu-priv.h"
#include "liveupdate.h"

/* Protects the list. Taken inside of the mutex of an iommu_group. */
static DEFINE_MUTEX(incoming_lock);

/*
 * A device that the previous kernel has handed over. The record is a copy, so that
 * nobody changes it. @domain is set from the time that the device is restored until
 * the owner claims the device.
 */
struct incoming_device {
	struct iommu_device_ser ser;
	struct iommu_domain *domain;
	bool done;	/* restored, given up, or a second record of a device */
};

static struct incoming_device *incoming;
static unsigned int nr_incoming;
static bool incoming_exists;	/* there is a list, even if it cannot be read */

static bool is_same_device(const struct iommu_device_ser *a,
			   const struct iommu_device_ser *b)
{
	return a->segment == b->segment && a->rid == b->rid;
}

/*
 * Copy the list into @incoming. A device can be on the list twice: while it is
 * taken off, the last record is moved to its place.
 */
static int incoming_copy(const struct iommu_devices_ser *devices, size_t size)
{
	const unsigned int nr = devices->nr;

	if (size < struct_size(devices, devices, nr))
		return -EINVAL;
	incoming = kvcalloc(nr, sizeof(*incoming), GFP_KERNEL);
	if (!incoming)
		return -ENOMEM;
	for (unsigned int i = 0; i != nr; i++) {
		incoming[i].ser = devices->devices[i];
		for (unsigned int j = 0; j != i; j++) {
			if (is_same_device(&incoming[i].ser, &incoming[j].ser))
				incoming[i].done = true;
		}
	}
	nr_incoming = nr;
	return 0;
}

static int incoming_read_list(phys_addr_t phys)
{
	struct folio *folio;
	int ret;

	if (!phys)
		return 0;
	folio = kho_folio_restore(phys);
	if (IS_ERR(folio))
		return PTR_ERR(folio);
	ret = incoming_copy(folio_address(folio), folio_size(folio));
	folio_put(folio);
	return ret;
}

static bool is_at(const struct incoming_device *in, struct pci_dev *pdev)
{
	return in->ser.segment == pci_domain_nr(pdev->bus) &&
	       in->ser.rid == pci_dev_id(pdev);
}

static struct incoming_device *incoming_find_pci(struct pci_dev *pdev)
{
	for (unsigned int i = 0; i != nr_incoming; i++) {
		if (!incoming[i].done && is_at(&incoming[i], pdev))
			return &incoming[i];
	}
	return NULL;
}

static bool is_same_make(const struct incoming_device *in, struct pci_dev *pdev)
{
	return in->ser.vendor == pdev->vendor && in->ser.device == pdev->device;
}

/*
 * Stop what is not on the list. The previous kernel has stopped all these devices
 * already, unless the list is damaged, or names a device in another place. A driver that
 * has taken a device over knows what the device does.
 */
static void stop_other_devices(void)
{
	struct incoming_device *in;
	struct pci_dev *pdev = NULL;

	for_each_pci_dev(pdev) {
		if (pdev->driver || pci_is_bridge(pdev))
			continue;
		in = incoming_find_pci(pdev);
		if (!in || !is_same_make(in, pdev))
			pci_clear_master(pdev);
	}
}

/* Take the list of the previous kernel over, once. */
static void incoming_read(void)
{
	static bool was_read;
	struct kho_iommu_ser *ser;
	struct folio *folio;
	phys_addr_t phys;
	size_t size;
	int ret;

	lockdep_assert_held(&incoming_lock);
	if (was_read)
		return;
	was_read = true;
	ret = kho_retrieve_subtree(KHO_IOMMU_SUBTREE, &phys, &size);
	incoming_exists = !ret || kho_handover_is_lost();
	if (!incoming_exists)
		return;
	if (ret)
		goto failed;

	folio = kho_folio_restore(phys);
	if (IS_ERR(folio)) {
		ret = PTR_ERR(folio);
		goto failed;
	}
	ser = folio_address(folio);
	if (size != sizeof(*ser) || ser->version != KHO_IOMMU_VERSION)
		ret = -EOPNOTSUPP;
	else
		ret = incoming_read_list(ser->devices_phys);
	folio_put(folio);
failed:
	if (ret)
		pr_err("cannot read the list of devices whose DMA goes on: all devices are stopped (%pe)\n",
		       ERR_PTR(ret));
	stop_other_devices();
}

/**
 * iommu_incoming_any - has the previous kernel left some IOMMU on
 *
 * Context: Process context, may sleep, after fs_initcall().
 * Return: true if it has. The list of devices may be empty all the same, or not name
 *	the right IOMMU, if the list is damaged.
 */
bool iommu_incoming_any(void)
{
	guard(mutex)(&incoming_lock);
	incoming_read();
	return incoming_exists;
}

/**
 * iommu_incoming_next - the devices of one IOMMU that have to be restored
 * @unit_phys: physical address of the registers of the IOMMU
 * @ser: what this function has returned last, or %NULL
 *
 * Context: Process context, may sleep, after fs_initcall().
 * Return: the next device, or %NULL.
 */
const struct iommu_device_ser *
iommu_incoming_next(u64 unit_phys, const struct iommu_device_ser *ser)
{
	struct incoming_device *in;

	guard(mutex)(&incoming_lock);
	incoming_read();
	in = ser ? container_of(ser, struct incoming_device, ser) + 1 : incoming;
	for (; in != incoming + nr_incoming; in++) {
		if (!in->done && in->ser.unit_phys == unit_phys)
			return &in->ser;
	}
	return NULL;
}

/**
 * iommu_incoming_find - find one device that has to be restored
 * @unit_phys: physical address of the registers of the IOMMU
 * @segment: PCI segment
 * @rid: requester ID
 *
 * Context: Process context, may sleep, after fs_initcall().
 * Return: the device, or %NULL.
 */
const struct iommu_device_ser *
iommu_incoming_find(u64 unit_phys, u32 segment, u16 rid)
{
	const struct iommu_device_ser *ser = NULL;

	while ((ser = iommu_incoming_next(unit_phys, ser))) {
		if (ser->segment == segment && ser->rid == rid)
			return ser;
	}
	return NULL;
}

static void incoming_clear_master(const struct iommu_device_ser *ser)
{
	struct pci_dev *pdev;

	pdev = pci_get_domain_bus_and_slot(ser->segment, PCI_BUS_NUM(ser->rid),
					   ser->rid & 0xff);
	/* A driver that has taken the device over knows what the device does. */
	if (pdev && !pdev->driver)
		pci_clear_master(pdev);
	pci_dev_put(pdev);
}

/**
 * iommu_incoming_drop - give a device up, and stop it
 * @ser: the device, which the driver of the IOMMU has blocked
 *
 * Context: Process context, may sleep.
 */
void iommu_incoming_drop(const struct iommu_device_ser *ser)
{
	guard(mutex)(&incoming_lock);
	container_of(ser, struct incoming_device, ser)->done = true;
	incoming_clear_master(ser);
}

/**
 * iommu_incoming_stop - stop the DMA of all devices that were to go on behind an IOMMU
 * @unit_phys: physical address of the registers of the IOMMU
 *
 * Context: Process context, may sleep, after PCI devices were found.
 */
void iommu_incoming_stop(u64 unit_phys)
{
	const struct iommu_device_ser *ser = NULL;

	while ((ser = iommu_incoming_next(unit_phys, ser)))
		incoming_clear_master(ser);
}

/* The domain of @ser, if another device with the same domain was restored. */
static struct iommu_domain *incoming_shared(const struct iommu_device_ser *ser)
{
	for (unsigned int i = 0; i != nr_incoming; i++) {
		if (incoming[i].domain &&
		    !memcmp(&incoming[i].ser.table, &ser->table,
			    sizeof(ser->table)))
			return incoming[i].domain;
	}
	return NULL;
}

/*
 * Give the devices up that share the domain of @ser and have not been probed. They use
 * the page table that goes away, or that gets an owner who does not know of them.
 */
static void incoming_abandon_others(const struct iommu_ops *ops,
				    const struct iommu_device_ser *ser)
{
	for (unsigned int i = 0; i != nr_incoming; i++) {
		struct incoming_device *in = &incoming[i];

		if (in->done || memcmp(&in->ser.table, &ser->table,
				       sizeof(ser->table)))
			continue;
		in->done = true;
		pr_err("%04x:%02x:%02x.%d cannot go on with its DMA: it shares its domain with a device that was taken over without it\n",
		       in->ser.segment, PCI_BUS_NUM(in->ser.rid),
		       PCI_SLOT(in->ser.rid), PCI_FUNC(in->ser.rid));
		incoming_clear_master(&in->ser);
		ops->liveupdate_ops->abandon_device(&in->ser);
	}
}

static int incoming_restore(const struct iommu_ops *ops, struct device *dev,
			    struct incoming_device *in)
{
	struct iommu_domain *domain, *shared = incoming_shared(&in->ser);
	int ret;

	domain = shared ?: ops->liveupdate_ops->restore_domain(dev, &in->ser.table);
	if (IS_ERR(domain)) {
		ops->liveupdate_ops->abandon_device(&in->ser);
		return PTR_ERR(domain);
	}
	/* As iommu_paging_domain_alloc() would have made it */
	domain->type = IOMMU_DOMAIN_UNMANAGED;
	domain->owner = ops;

	ret = ops->liveupdate_ops->restore_device(domain, dev, &in->ser);
	if (!ret) {
		in->domain = domain;
		return 0;
	}
	/* The tables must not be freed while the IOMMU can still reach them. */
	ops->liveupdate_ops->abandon_device(&in->ser);
	if (!shared) {
		incoming_abandon_others(ops, &in->ser);
		iommu_domain_free(domain);
	}
	return ret;
}

/**
 * iommu_incoming_restore - give a device the domain that it has had
 * @dev: the device
 * @alone: whether the device is alone in its group
 *
 * If this fails then the DMA of the device is blocked.
 *
 * Context: Process context, may sleep. The caller holds the mutex of the group.
 * Return: the domain, or %NULL if the device has none from the previous kernel, or
 *	it could not be restored.
 */
struct iommu_domain *iommu_incoming_restore(struct device *dev, bool alone)
{
	const struct iommu_ops *ops = dev_iommu_ops(dev);
	struct incoming_device *in;
	struct pci_dev *pdev;
	int ret = -EINVAL;

	if (!ops->liveupdate_ops || !dev_is_pci(dev))
		return NULL;
	pdev = to_pci_dev(dev);

	guard(mutex)(&incoming_lock);
	incoming_read();
	in = incoming_find_pci(pdev);
	if (!in)
		return NULL;
	in->done = true;
	if (alone && is_same_make(in, pdev))
		ret = incoming_restore(ops, dev, in);
	else
		ops->liveupdate_ops->abandon_device(&in->ser);
	if (!ret) {
		dev_info(dev, "goes on with its DMA, through the page table of the previous kernel\n");
		return in->domain;
	}
	pci_clear_master(pdev);
	dev_err(dev, "cannot go on with its DMA, which is blocked (%pe)\n",
		ERR_PTR(ret));
	return NULL;
}

/**
 * iommu_incoming_claimed - a restored domain has an owner now
 * @domain: the domain
 *
 * Context: Process context, may sleep.
 */
void iommu_incoming_claimed(const struct iommu_domain *domain)
{
	guard(mutex)(&incoming_lock);
	for (unsigned int i = 0; i != nr_incoming; i++) {
		if (incoming[i].domain != domain)
			continue;
		incoming[i].domain = NULL;
		incoming_abandon_others(domain->owner, &incoming[i].ser);
	}
}

/**
 * iommu_incoming_forget - a device with a restored domain is removed unclaimed
 * @dev: the device
 *
 * Context: Process context, may sleep.
 * Return: true if no device uses the domain any more, and nobody owns it.
 */
bool iommu_incoming_forget(struct device *dev)
{
	struct iommu_domain *domain = NULL;
	struct incoming_device *in = NULL;

	guard(mutex)(&incoming_lock);
	for (unsigned int i = 0; i != nr_incoming; i++) {
		if (incoming[i].domain && is_at(&incoming[i], to_pci_dev(dev)))
			in = &incoming[i];
	}
	if (!in)
		return false;
	swap(in->domain, domain);
	for (unsigned int i = 0; i != nr_incoming; i++) {
		if (incoming[i].domain == domain)
			return false;
	}
	incoming_abandon_others(domain->owner, &in->ser);
	return true;
}

/*
 * What no IOMMU has asked for goes on with its DMA, and is not translated, unless
 * the device is stopped.
 */
static int __init iommu_incoming_report(void)
{
	guard(mutex)(&incoming_lock);
	incoming_read();
	for (unsigned int i = 0; i != nr_incoming; i++) {
		const struct iommu_device_ser *ser = &incoming[i].ser;

		if (incoming[i].done)
			continue;
		pr_err("%04x:%02x:%02x.%d cannot go on with its DMA: nothing drives the IOMMU at %#llx\n",
		       ser->segment, PCI_BUS_NUM(ser->rid), PCI_SLOT(ser->rid),
		       PCI_FUNC(ser->rid), ser->unit_phys);
		incoming_clear_master(ser);
	}
	return 0;
}
late_initcall_sync(iommu_incoming_report);
