/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Test of the handover of IOMMU page tables: what its files share.
 */
#ifndef _IPT_H
#define _IPT_H

#include <linux/generic_pt/iommu.h>
#include <linux/handover_test.h>
#include <linux/iommu.h>
#include <linux/kho/abi/iommu_pt.h>
#include <linux/list.h>
#include <linux/sizes.h>
#include <linux/spinlock.h>

#include "../../iommu-pages.h"
#include "../../iommu-priv.h"

/* Ranges mapped in each page table, and by a test of new mappings */
#define IPT_MAPS	256
#define IPT_NEW_MAPS	32

#define IPT_AMDV1	PT_IOMMU_SER_AMDV1
#define IPT_VTDSS	PT_IOMMU_SER_VTDSS
#define IPT_X86_64	PT_IOMMU_SER_X86_64

#define IPT_AMDV1_FEATURES						     \
	(BIT(PT_FEAT_DYNAMIC_TOP) | BIT(PT_FEAT_FLUSH_RANGE) |		     \
	 BIT(PT_FEAT_AMDV1_ENCRYPT_TABLES) | BIT(PT_FEAT_AMDV1_FORCE_COHERENCE))

struct ipt_kind {
	enum pt_iommu_ser_format format;
	struct pt_iommu_cfg cfg;
	unsigned int level;	/* of the top, or of the first top */
	u64 base;		/* of all mappings */
};

struct ipt_table {
	union {
		struct iommu_domain domain;
		struct pt_iommu iommu;
		struct pt_iommu_amdv1 amdv1;
		struct pt_iommu_vtdss vtdss;
		struct pt_iommu_x86_64 x86_64;
	};
	struct list_head list;
	spinlock_t top_lock;	/* for changing the top */
	const struct ipt_kind *kind;
	unsigned int index;
	u64 seed;
	bool preserved;
	bool target_mapped;
	struct pt_iommu_ser ser;
};

PT_IOMMU_CHECK_DOMAIN(struct ipt_table, iommu, domain);
PT_IOMMU_CHECK_DOMAIN(struct ipt_table, amdv1.iommu, domain);
PT_IOMMU_CHECK_DOMAIN(struct ipt_table, vtdss.iommu, domain);
PT_IOMMU_CHECK_DOMAIN(struct ipt_table, x86_64.iommu, domain);

/* main.c */
extern struct handover_test ipt_test;
extern struct handover_test_stats ipt_stats;
extern struct device *ipt_device;
extern void *ipt_target;

/* table.c */
extern const struct ipt_kind ipt_kinds[];
extern const unsigned int ipt_nr_kinds;
bool ipt_expect(const struct ipt_table *table, const char *what,
		u64 expected, u64 found);
int ipt_init_table(struct ipt_table *table,
		   enum pt_iommu_ser_format format,
		   const struct pt_iommu_cfg *cfg, unsigned int level,
		   const struct pt_iommu_ser *ser);
int ipt_restore_table(struct ipt_table *table, const struct pt_iommu_ser *ser);
long ipt_nr_pages(void);

/* maps.c */
int ipt_map_all(struct ipt_table *table, u64 base, u64 seed, unsigned int count);
void ipt_check(struct ipt_table *table, u64 base, u64 seed,
	       unsigned int count, const char *what);
void ipt_use(struct ipt_table *table);
u64 ipt_target_iova(const struct ipt_table *table);
void ipt_map_target(struct ipt_table *table);
void ipt_unmap_target(struct ipt_table *table);
void ipt_edges(struct ipt_table *table);

/* bad.c */
void ipt_preserve_nomem(struct ipt_table *table);
int ipt_restore_nomem(struct ipt_table *table, const struct pt_iommu_ser *ser);
void ipt_tell_failed(const char *cmd);
void ipt_access(const struct ipt_table *table, const struct pt_iommu_ser *ser);
void ipt_check_access(const struct ipt_table *table,
		      const struct pt_iommu_ser *ser);
void ipt_bad_calls(struct ipt_table *table, const struct pt_iommu_ser *good,
		   const struct pt_iommu_ser *other, phys_addr_t folio);

#endif /* _IPT_H */
