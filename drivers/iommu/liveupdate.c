// SPDX-License-Identifier: GPL-2.0-only
/*
 * Devices whose DMA goes on while the kernel is replaced: the list of those that this
 * kernel hands over. liveupdate_restore.c has the list that came from the previous
 * kernel. How an IOMMU stays on is for its driver to know: see struct
 * iommu_liveupdate_ops.
 */

#define pr_fmt(fmt) "iommu: " fmt

#include <linux/cleanup.h>
#include <linux/io.h>
#include <linux/kexec_handover.h>
#include <linux/list.h>
#include <linux/mm.h>
#include <linux/mutex.h>
#include <linux/overflow.h>
#include <linux/pci.h>
#include <linux/slab.h>

#include "iommu-priv.h"
#include "liveupdate.h"

/* Protects all that follows. Taken inside of the mutex of an iommu_group. */
static DEFINE_MUTEX(liveupdate_lock);

/* A device that this kernel hands over */
struct preserved_device {
	struct list_head list;
	struct device *dev;
	struct iommu_domain *domain;
	struct iommu_device_ser ser;
};

static LIST_HEAD(preserved_devices);
static struct kho_iommu_ser *ser_out;	/* a page with a subtree, or NULL */
static struct iommu_devices_ser *devices_out;

static unsigned int devices_out_capacity(void)
{
	if (!devices_out)
		return 0;
	return (folio_size(virt_to_folio(devices_out)) - sizeof(*devices_out)) /
	       sizeof(devices_out->devices[0]);
}

/**
 * iommu_preserved_ser - what the next kernel will read, for tests
 *
 * Return: the root of the list, or %NULL if nothing was preserved yet.
 */
struct kho_iommu_ser *iommu_preserved_ser(void)
{
	return ser_out;
}

static int ser_out_init(void)
{
	struct kho_iommu_ser *ser;
	int ret;

	if (ser_out)
		return 0;
	ser = kho_alloc_preserve(sizeof(*ser));
	if (IS_ERR(ser))
		return PTR_ERR(ser);
	memset(ser, 0, sizeof(*ser));
	ser->version = KHO_IOMMU_VERSION;
	ret = kho_add_subtree(KHO_IOMMU_SUBTREE, ser, sizeof(*ser));
	if (ret) {
		kho_unpreserve_free(ser);
		return ret;
	}
	ser_out = ser;
	return 0;
}

/*
 * Make room for one more device in the list. A kexec finds one list or the other. An
 * empty list stays: it says that no device goes on.
 */
static int devices_out_grow(void)
{
	const unsigned int nr = devices_out ? devices_out->nr : 0;
	struct iommu_devices_ser *old = devices_out, *new;
	int ret;

	ret = ser_out_init();
	if (ret)
		return ret;
	if (nr < devices_out_capacity())
		return 0;

	new = kho_alloc_preserve(struct_size(new, devices, 2 * nr + 1));
	if (IS_ERR(new))
		return PTR_ERR(new);
	if (old)
		memcpy(new, old, struct_size(old, devices, nr));
	else
		memset(new, 0, sizeof(*new));
	devices_out = new;
	/* A kexec can come now: the list must be complete before it is known. */
	smp_store_release(&ser_out->devices_phys, virt_to_phys(new));
	kho_unpreserve_free(old);
	return 0;
}

static void devices_out_del(const struct iommu_device_ser *ser)
{
	struct iommu_device_ser *last = &devices_out->devices[devices_out->nr - 1];

	for (unsigned int i = 0; i != devices_out->nr; i++) {
		struct iommu_device_ser *found = &devices_out->devices[i];

		if (!memcmp(found, ser, sizeof(*ser))) {
			*found = *last;
			/* The last record must be in its new place before it is cut off. */
			smp_store_release(&devices_out->nr, devices_out->nr - 1);
			return;
		}
	}
}

static struct preserved_device *preserved_find(const struct device *dev)
{
	struct preserved_device *p;

	list_for_each_entry(p, &preserved_devices, list) {
		if (p->dev == dev)
			return p;
	}
	return NULL;
}

static struct preserved_device *
preserved_find_domain(const struct iommu_domain *domain)
{
	struct preserved_device *p;

	list_for_each_entry(p, &preserved_devices, list) {
		if (p->domain == domain)
			return p;
	}
	return NULL;
}

/* The first device of a domain preserves the page table of the domain. */
static int preserve_domain(const struct iommu_liveupdate_ops *ops,
			   struct preserved_device *new)
{
	struct preserved_device *other = preserved_find_domain(new->domain);

	if (other) {
		new->ser.table = other->ser.table;
		return 0;
	}
	iommu_flush_iotlb_all(new->domain);
	return ops->preserve_domain(new->domain, &new->ser.table);
}

static void unpreserve_domain(const struct iommu_liveupdate_ops *ops,
			      struct iommu_domain *domain)
{
	if (!preserved_find_domain(domain))
		ops->unpreserve_domain(domain);
}

/**
 * iommu_preserved_add - preserve a device and its domain
 * @domain: the domain of the device
 * @dev: the device, which is alone in its group and has an owner
 *
 * Context: Process context, may sleep. The caller holds the mutex of the group.
 * Return: 0, or an error as iommu_device_preserve() returns it. After an error
 *	neither the device nor its domain is preserved.
 */
int iommu_preserved_add(struct iommu_domain *domain, struct device *dev)
{
	const struct iommu_liveupdate_ops *ops = dev_iommu_ops(dev)->liveupdate_ops;
	struct preserved_device *new;
	int ret;

	if (!ops || !dev_is_pci(dev)) {
		dev_warn(dev, "cannot go on with its DMA: not supported by the IOMMU driver\n");
		return -EOPNOTSUPP;
	}

	guard(mutex)(&liveupdate_lock);
	if (preserved_find(dev))
		return -EEXIST;
	new = kzalloc_obj(*new);
	if (!new)
		return -ENOMEM;
	new->dev = dev;
	new->domain = domain;
	new->ser.vendor = to_pci_dev(dev)->vendor;
	new->ser.device = to_pci_dev(dev)->device;

	ret = devices_out_grow();
	if (ret)
		goto free;
	ret = preserve_domain(ops, new);
	if (ret)
		goto free;
	ret = ops->preserve_device(dev, &new->ser);
	if (ret)
		goto undo_domain;

	list_add_tail(&new->list, &preserved_devices);
	devices_out->devices[devices_out->nr] = new->ser;
	/* The record must be complete before it counts. */
	smp_store_release(&devices_out->nr, devices_out->nr + 1);
	dev->iommu->preserved = 1;
	pci_keep_master(to_pci_dev(dev));
	return 0;

undo_domain:
	unpreserve_domain(ops, domain);
free:
	kfree(new);
	return ret;
}

/**
 * iommu_preserved_del - undo iommu_preserved_add()
 * @dev: the device
 *
 * Context: Process context, may sleep. The caller holds the mutex of the group.
 */
void iommu_preserved_del(struct device *dev)
{
	const struct iommu_liveupdate_ops *ops = dev_iommu_ops(dev)->liveupdate_ops;
	struct preserved_device *p;

	guard(mutex)(&liveupdate_lock);
	p = preserved_find(dev);
	if (WARN_ON(!p))
		return;
	pci_unkeep_master(to_pci_dev(dev));
	dev->iommu->preserved = 0;
	devices_out_del(&p->ser);
	list_del(&p->list);
	ops->unpreserve_device(dev);
	unpreserve_domain(ops, p->domain);
	kfree(p);
}
