/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef _LINUX_KHO_ABI_IOMMU_H
#define _LINUX_KHO_ABI_IOMMU_H

#include <linux/build_bug.h>
#include <linux/kho/abi/iommu_pt.h>
#include <linux/stddef.h>
#include <linux/types.h>

/**
 * DOC: Devices behind an IOMMU
 *
 * A device that goes on with its DMA while the kernel is replaced needs three
 * things from the next kernel: the IOMMU stays on, the tables that lead from the
 * requester ID to the page table stay where they are, and so does the page table.
 * The subtree %KHO_IOMMU_SUBTREE is a &struct kho_iommu_ser. It points at a list of
 * all such devices. Each device has a &struct iommu_device_ser, which says what has
 * to be found on the way from the IOMMU to the page table.
 *
 * The next kernel keeps an IOMMU on if the list names the IOMMU. It then removes the
 * entries of all devices from the IOMMU's tables that are not on the list, or do not
 * agree with the list. The IOMMU blocks a device without an entry.
 */

#define KHO_IOMMU_SUBTREE	"iommu"

/* What follows is read by kernels with the same number only. */
#define KHO_IOMMU_VERSION	1

/**
 * struct iommu_device_ser - a device that goes on with its DMA
 * @unit_phys: physical address of the IOMMU's registers
 * @root_phys: physical address of the IOMMU's root table
 * @segment: PCI segment of the device
 * @rid: requester ID of the device, which is bus, device and function
 * @did: domain ID that the IOMMU tags its cached translations with
 * @vendor: PCI vendor ID of the device
 * @device: PCI device ID of the device
 * @reserved: 0
 * @table: the page table; devices that share a domain have the same
 */
struct iommu_device_ser {
	u64 unit_phys;
	u64 root_phys;
	u32 segment;
	u16 rid;
	u16 did;
	u16 vendor;
	u16 device;
	u32 reserved;
	struct pt_iommu_ser table;
};

static_assert(sizeof(struct iommu_device_ser) == 64);
static_assert(offsetof(struct iommu_device_ser, table) == 32);

/**
 * struct iommu_devices_ser - the list of devices
 * @nr: number of devices
 * @reserved: 0
 * @devices: the devices
 *
 * Lies in a folio of its own.
 */
struct iommu_devices_ser {
	u32 nr;
	u32 reserved;
	struct iommu_device_ser devices[];
};

static_assert(sizeof(struct iommu_devices_ser) == 8);

/**
 * struct kho_iommu_ser - where the list of devices is
 * @version: %KHO_IOMMU_VERSION
 * @reserved: 0
 * @devices_phys: physical address of the &struct iommu_devices_ser, 0 if there is
 *	none
 *
 * The list is replaced when it grows. This structure stays where it is, and one
 * store makes the new list known: a kexec finds either list.
 */
struct kho_iommu_ser {
	u32 version;
	u32 reserved;
	u64 devices_phys;
};

static_assert(sizeof(struct kho_iommu_ser) == 16);

#endif /* _LINUX_KHO_ABI_IOMMU_H */
