/* SPDX-License-Identifier: GPL-2.0-only */
/* What the IOMMU core and the drivers of IOMMUs share about a live update. */
#ifndef __IOMMU_LIVEUPDATE_H
#define __IOMMU_LIVEUPDATE_H

#include <linux/errno.h>
#include <linux/iommu.h>
#include <linux/kho/abi/iommu.h>

/**
 * struct iommu_liveupdate_ops - what a driver does so that DMA goes on
 * @preserve_domain: Preserve the page table of @domain, and set @table. No
 *	invalidation is pending. Return: 0, -EOPNOTSUPP if a domain of this kind
 *	cannot be handed over, or an error of pt_iommu_preserve().
 * @unpreserve_domain: Undo preserve_domain().
 * @preserve_device: Preserve the tables of the IOMMU that lead to the domain of
 *	@dev, and set all of @ser but the page table. From now on a shutdown for a
 *	kexec leaves the IOMMU on, and removes all other devices from its tables.
 *	Return: 0, -EOPNOTSUPP if this IOMMU or this device cannot go on, or an
 *	error of iommu_preserve_pages().
 * @unpreserve_device: Undo preserve_device().
 * @restore_domain: Return a domain with the page table @table of the previous
 *	kernel, or an error pointer.
 * @restore_device: Make @domain the domain of @dev, without a change of what the
 *	IOMMU does. Return: 0, or an error if the tables of the IOMMU do not agree
 *	with @ser.
 * @abandon_device: Block the DMA of the device that @ser names, and which may have
 *	gone. Called instead of restore_device(), or after it has failed.
 *
 * All of them are called in process context, and can sleep.
 */
struct iommu_liveupdate_ops {
	int (*preserve_domain)(struct iommu_domain *domain,
			       struct pt_iommu_ser *table);
	void (*unpreserve_domain)(struct iommu_domain *domain);
	int (*preserve_device)(struct device *dev, struct iommu_device_ser *ser);
	void (*unpreserve_device)(struct device *dev);
	struct iommu_domain *(*restore_domain)(struct device *dev,
					       const struct pt_iommu_ser *table);
	int (*restore_device)(struct iommu_domain *domain, struct device *dev,
			      const struct iommu_device_ser *ser);
	void (*abandon_device)(const struct iommu_device_ser *ser);
};

#ifdef CONFIG_IOMMU_LIVEUPDATE
const struct iommu_device_ser *
iommu_incoming_next(u64 unit_phys, const struct iommu_device_ser *ser);
const struct iommu_device_ser *
iommu_incoming_find(u64 unit_phys, u32 segment, u16 rid);
void iommu_incoming_drop(const struct iommu_device_ser *ser);
void iommu_incoming_stop(u64 unit_phys);
bool iommu_incoming_any(void);

struct kho_iommu_ser *iommu_preserved_ser(void);
int iommu_preserved_add(struct iommu_domain *domain, struct device *dev);
void iommu_preserved_del(struct device *dev);
struct iommu_domain *iommu_incoming_restore(struct device *dev, bool alone);
void iommu_incoming_claimed(const struct iommu_domain *domain);
bool iommu_incoming_forget(struct device *dev);
#else
static inline int iommu_preserved_add(struct iommu_domain *domain,
				      struct device *dev)
{
	return -EOPNOTSUPP;
}

static inline void iommu_preserved_del(struct device *dev) { }

static inline struct iommu_domain *iommu_incoming_restore(struct device *dev,
							  bool alone)
{
	return NULL;
}

static inline void iommu_incoming_stop(u64 unit_phys) { }

static inline void iommu_incoming_claimed(const struct iommu_domain *domain) { }

static inline bool iommu_incoming_forget(struct device *dev)
{
	return false;
}
#endif

#endif /* __IOMMU_LIVEUPDATE_H */
