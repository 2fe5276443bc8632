// SPDX-License-Identifier: GPL-2.0-only
/*
 * A test of DMA that goes on while the kernel is replaced.
 *
 * An ES1370 sound card plays a buffer in a loop. The card fetches the buffer by DMA,
 * without a CPU or an interrupt. Each sample is its own index, and the buffer has as
 * many samples as there are 16-bit numbers: the sound is right if each sample is the one
 * before plus one, from the start to the end. QEMU writes the sound to a file.
 *
 * The left channel has the index. The right channel says which kernel has filled the
 * buffer. Commands come through a file in debugfs:
 *
 *	start		play, through a page table of this driver
 *	preserve [skip]	hand everything over, but for the page that is to be skipped
 *	unpreserve	undo that
 *	many		map the page of silence so often that there are 10,000 more tables
 *	few		undo that
 *	frozen		try what must be refused now
 *	keep-master	let the card go on without preserving anything
 *	break WHAT	break one thing that was preserved, on purpose
 *	restore		take over what the previous kernel has handed over
 *	move		map a new buffer, play that one, unmap and free the old one
 *	fault		let the card read, by its other channel, what is not mapped
 *	stop		stop, and free everything
 */

#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/array_size.h>
#include <linux/debugfs.h>
#include <linux/delay.h>
#include <linux/io.h>
#include <linux/iommu.h>
#include <linux/kexec_handover.h>
#include <linux/kho_memdesc.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/pci.h>
#include <linux/slab.h>
#include <linux/sizes.h>
#include <linux/string.h>

#include "intel/iommu.h"
#include "iommu-pages.h"
#include "liveupdate.h"

/* Registers of the ES1370, from the data sheet of the AudioPCI chip */
#define ES_CONTROL	0x00
#define   CONTROL_DAC1	BIT(6)
#define   CONTROL_DAC2	BIT(5)
#define   CONTROL_DIV	(30 << 16)	/* 1411200 / (30 + 2): 44100 Hz */
#define   CONTROL_DAC1_44K	(3 << 12)
#define ES_MEMPAGE	0x0c
#define   MEMPAGE_DAC	0x0c
#define ES_SCTL		0x20
#define   SCTL_DAC1_S16	(3 << 0)	/* 16 bit, stereo */
#define   SCTL_DAC2_S16	(3 << 2)
#define   SCTL_DAC2_END	(2 << 19)	/* bytes in a sample of one channel */
#define ES_DAC1_COUNT	0x24
#define ES_DAC2_COUNT	0x28
#define ES_DAC1_ADDR	0x30
#define ES_DAC1_SIZE	0x34
#define ES_DAC2_ADDR	0x38
#define ES_DAC2_SIZE	0x3c

#define NR_PAGES	(SZ_256K / SZ_4K)
#define WORDS_PER_PAGE	(SZ_4K / sizeof(u32))
#define NR_CARDS	2
/* Where buffers are mapped. There is RAM at these addresses. */
#define FIRST_IOVA	0x10000000
#define IOVA_STEP	0x01000000
/* A page of silence, for the other channel */
#define SILENCE_IOVA	0x30000000

/* Each of them is in a table of its own. */
#define NR_MANY		10000
#define MANY_IOVA	SZ_4G
#define MANY_STEP	SZ_2M

#define SUBTREE		"iommu-test"

/* What this driver tells itself in the next kernel, a page for each card */
struct card_ser {
	u32 generation;
	u32 nr_many;
	u64 iova;
	u64 pages[NR_PAGES];
	u64 silence;
};

struct buffer {
	u64 iova;
	struct page *pages[NR_PAGES];
};

static struct card {
	struct pci_dev *pdev;
	void __iomem *regs;
	struct iommu_domain *domain;
	struct buffer buffer;
	struct page *silence;
	struct card_ser *ser;
	unsigned int generation;
	unsigned int nr_many;
	char subtree[32];
	bool kept;
} cards[NR_CARDS];

static const struct pci_device_id card_ids[] = {
	{ PCI_DEVICE(PCI_VENDOR_ID_ENSONIQ, PCI_DEVICE_ID_ENSONIQ_ES1370) },
	{}
};

static void fill(struct page *page, unsigned int index, unsigned int generation)
{
	u32 *word = page_address(page);

	for (unsigned int i = 0; i < WORDS_PER_PAGE; i++)
		word[i] = generation << 16 | (u16)(index * WORDS_PER_PAGE + i);
}

static int check(struct page *page, unsigned int index, unsigned int generation)
{
	const u32 *word = page_address(page);

	for (unsigned int i = 0; i < WORDS_PER_PAGE; i++) {
		if (word[i] != (generation << 16 | (u16)(index * WORDS_PER_PAGE + i))) {
			pr_err("page %u, word %u: %#x\n", index, i, word[i]);
			return -EUCLEAN;
		}
	}
	return 0;
}

static void buffer_free(struct card *card, struct buffer *buffer)
{
	for (unsigned int i = 0; i < NR_PAGES; i++) {
		if (!buffer->pages[i])
			continue;
		if (card->domain)
			iommu_unmap(card->domain, buffer->iova + i * SZ_4K, SZ_4K);
		__free_page(buffer->pages[i]);
		buffer->pages[i] = NULL;
	}
}

/* Every other page goes back, so that the buffer is scattered. */
static int buffer_alloc(struct card *card, struct buffer *buffer)
{
	struct page *spare[NR_PAGES] = {};
	int ret = 0;

	for (unsigned int i = 0; i < NR_PAGES && !ret; i++) {
		buffer->pages[i] = alloc_page(GFP_KERNEL);
		spare[i] = alloc_page(GFP_KERNEL);
		if (!buffer->pages[i] || !spare[i]) {
			ret = -ENOMEM;
			break;
		}
		fill(buffer->pages[i], i, card->generation);
		ret = iommu_map(card->domain, buffer->iova + i * SZ_4K,
				page_to_phys(buffer->pages[i]), SZ_4K,
				IOMMU_READ, GFP_KERNEL);
	}
	for (unsigned int i = 0; i < NR_PAGES; i++) {
		if (spare[i])
			__free_page(spare[i]);
	}
	if (ret)
		buffer_free(card, buffer);
	return ret;
}

static u64 many_iova(unsigned int i)
{
	return MANY_IOVA + (u64)i * MANY_STEP;
}

static int cmd_few(struct card *card)
{
	if (card->ser)
		return -EINVAL;
	for (; card->nr_many; card->nr_many--)
		iommu_unmap(card->domain, many_iova(card->nr_many - 1), SZ_4K);
	return 0;
}

static int cmd_many(struct card *card)
{
	int ret = 0;

	if (!card->silence || card->ser)
		return -EINVAL;
	for (; card->nr_many < NR_MANY; card->nr_many++) {
		ret = iommu_map(card->domain, many_iova(card->nr_many),
				page_to_phys(card->silence), SZ_4K, IOMMU_READ,
				GFP_KERNEL);
		if (ret)
			return ret;
		cond_resched();
	}
	return 0;
}

static int check_many(struct card *card)
{
	for (unsigned int i = 0; i < card->nr_many; i++) {
		if (iommu_iova_to_phys(card->domain, many_iova(i)) !=
		    page_to_phys(card->silence))
			return -EUCLEAN;
	}
	return 0;
}

static void play_buffer(struct card *card)
{
	iowrite32(MEMPAGE_DAC, card->regs + ES_MEMPAGE);
	iowrite32(card->buffer.iova, card->regs + ES_DAC2_ADDR);
}

static void card_free(struct card *card)
{
	cmd_few(card);
	if (card->domain && card->silence)
		iommu_unmap(card->domain, SILENCE_IOVA, SZ_4K);
	if (card->silence)
		__free_page(card->silence);
	card->silence = NULL;
	buffer_free(card, &card->buffer);
	iommu_device_release_dma_owner(&card->pdev->dev);
	if (card->domain)
		iommu_domain_free(card->domain);
	card->domain = NULL;
}

static int cmd_start(struct card *card)
{
	struct device *dev = &card->pdev->dev;
	struct iommu_domain *domain;
	int ret;

	if (card->domain)
		return -EBUSY;
	ret = iommu_device_claim_dma_owner(dev, card);
	if (ret)
		return ret;
	domain = iommu_paging_domain_alloc(dev);
	if (IS_ERR(domain)) {
		iommu_device_release_dma_owner(dev);
		return PTR_ERR(domain);
	}
	card->domain = domain;
	card->generation = 1;
	card->buffer.iova = FIRST_IOVA;
	/* A card that shares its group is refused when it is preserved. */
	ret = iommu_attach_group(domain, dev->iommu_group) ?:
	      buffer_alloc(card, &card->buffer);
	if (ret)
		goto free;
	card->silence = alloc_page(GFP_KERNEL | __GFP_ZERO);
	ret = -ENOMEM;
	if (!card->silence)
		goto free;
	ret = iommu_map(domain, SILENCE_IOVA, page_to_phys(card->silence), SZ_4K,
			IOMMU_READ, GFP_KERNEL);
	if (ret) {
		__free_page(card->silence);
		card->silence = NULL;
		goto free;
	}

	play_buffer(card);
	iowrite32(SZ_256K / 4 - 1, card->regs + ES_DAC2_SIZE);
	iowrite32(0xffff, card->regs + ES_DAC2_COUNT);
	iowrite32(SCTL_DAC2_S16 | SCTL_DAC2_END, card->regs + ES_SCTL);
	iowrite32(CONTROL_DIV | CONTROL_DAC2, card->regs + ES_CONTROL);
	return 0;
free:
	card_free(card);
	return ret;
}

static void unpreserve_pages(struct card *card, unsigned int nr, unsigned int skip)
{
	while (nr--) {
		if (nr != skip)
			kho_pages_unpreserve(card->buffer.pages[nr], 0);
	}
}

static int preserve_pages(struct card *card, unsigned int skip)
{
	int ret;

	for (unsigned int i = 0; i < NR_PAGES; i++) {
		card->ser->pages[i] = page_to_phys(card->buffer.pages[i]);
		if (i == skip)
			continue;
		ret = kho_pages_preserve(card->buffer.pages[i], 0);
		if (ret) {
			unpreserve_pages(card, i, skip);
			return ret;
		}
	}
	if (!card->silence)
		return 0;
	card->ser->silence = page_to_phys(card->silence);
	ret = kho_pages_preserve(card->silence, 0);
	if (ret)
		unpreserve_pages(card, NR_PAGES, skip);
	return ret;
}

static int cmd_preserve(struct card *card, unsigned int skip)
{
	int ret;

	if (!card->domain || card->ser)
		return -EINVAL;
	card->ser = kho_alloc_preserve(sizeof(*card->ser));
	if (IS_ERR(card->ser)) {
		ret = PTR_ERR(card->ser);
		card->ser = NULL;
		return ret;
	}
	memset(card->ser, 0, sizeof(*card->ser));
	card->ser->generation = card->generation;
	card->ser->iova = card->buffer.iova;
	card->ser->nr_many = card->nr_many;
	ret = preserve_pages(card, skip);
	if (ret)
		goto free;
	ret = iommu_device_preserve(&card->pdev->dev);
	if (ret)
		goto undo_pages;
	ret = kho_add_subtree(card->subtree, card->ser, sizeof(*card->ser));
	if (!ret)
		return 0;
	iommu_device_unpreserve(&card->pdev->dev);
undo_pages:
	if (card->silence)
		kho_pages_unpreserve(card->silence, 0);
	unpreserve_pages(card, NR_PAGES, skip);
free:
	kho_unpreserve_free(card->ser);
	card->ser = NULL;
	return ret;
}

static int cmd_unpreserve(struct card *card)
{
	if (!card->ser)
		return -EINVAL;
	kho_remove_subtree(card->ser);
	iommu_device_unpreserve(&card->pdev->dev);
	if (card->silence)
		kho_pages_unpreserve(card->silence, 0);
	unpreserve_pages(card, NR_PAGES, NR_PAGES);
	kho_unpreserve_free(card->ser);
	card->ser = NULL;
	return 0;
}

/* Nothing changes in a domain that is preserved, and nothing else can be attached. */
static int cmd_frozen(struct card *card)
{
	struct device *dev = &card->pdev->dev;

	if (!card->ser)
		return -EINVAL;
	if (iommu_map(card->domain, FIRST_IOVA + IOVA_STEP / 2,
		      page_to_phys(card->buffer.pages[0]), SZ_4K, IOMMU_READ,
		      GFP_KERNEL) != -EBUSY ||
	    iommu_unmap(card->domain, card->buffer.iova, SZ_4K) ||
	    iommu_device_preserve(dev) != -EEXIST ||
	    iommu_device_claim_dma_owner(dev, cards + NR_CARDS) != -EPERM)
		return -EUCLEAN;
	return 0;
}

static int restore_page(u64 phys, struct page **page)
{
	*page = kho_pages_restore(phys, 0);
	if (IS_ERR(*page)) {
		int ret = PTR_ERR(*page);

		*page = NULL;
		return ret;
	}
	return 0;
}

static int restore_pages(struct card *card, const struct card_ser *ser)
{
	phys_addr_t phys;
	int ret = 0;

	for (unsigned int i = 0; i < NR_PAGES && !ret; i++) {
		ret = restore_page(ser->pages[i], &card->buffer.pages[i]);
		if (!ret)
			ret = check(card->buffer.pages[i], i, ser->generation);
		phys = iommu_iova_to_phys(card->domain, ser->iova + i * SZ_4K);
		if (!ret && phys != ser->pages[i])
			ret = -EUCLEAN;
	}
	if (!ret && ser->silence)
		ret = restore_page(ser->silence, &card->silence);
	return ret ?: check_many(card);
}

static int cmd_restore(struct card *card)
{
	struct device *dev = &card->pdev->dev;
	struct iommu_domain *domain;
	struct card_ser *ser;
	struct folio *folio;
	phys_addr_t phys;
	int ret;

	ret = kho_retrieve_subtree(card->subtree, &phys, NULL);
	if (ret)
		return ret;
	ret = iommu_device_claim_dma_owner(dev, card);
	domain = iommu_device_claim_restored(dev, card);
	if (IS_ERR(domain)) {
		if (!ret)
			iommu_device_release_dma_owner(dev);
		return PTR_ERR(domain);
	}
	/* It has an owner until somebody claims what came with it, and once. */
	if (ret != -EPERM)
		return -EUCLEAN;
	if (iommu_device_claim_restored(dev, card) != ERR_PTR(-ENOENT))
		return -EUCLEAN;
	folio = kho_folio_restore(phys);
	if (IS_ERR(folio))
		return PTR_ERR(folio);
	ser = folio_address(folio);
	card->domain = domain;
	card->generation = ser->generation + 1;
	card->buffer.iova = ser->iova;
	card->nr_many = ser->nr_many;
	ret = restore_pages(card, ser);
	folio_put(folio);
	return ret;
}

static int cmd_move(struct card *card)
{
	struct buffer old = card->buffer, new = { .iova = old.iova + IOVA_STEP };
	int ret;

	if (!card->domain)
		return -EINVAL;
	ret = buffer_alloc(card, &new);
	if (ret)
		return ret;
	card->buffer = new;
	play_buffer(card);
	/* The card has fetched the last samples of the old buffer by then. */
	msleep(300);
	buffer_free(card, &old);
	return 0;
}

/*
 * The other channel plays the page of silence, which brings the page into the caches of
 * the IOMMU. Then it is unmapped. If the domain has the wrong ID, the caches keep the
 * translation, and there is no fault.
 */
static int cmd_fault(struct card *card)
{
	if (!card->domain || !card->silence || card->nr_many)
		return -EINVAL;
	iowrite32(MEMPAGE_DAC, card->regs + ES_MEMPAGE);
	iowrite32(SILENCE_IOVA, card->regs + ES_DAC1_ADDR);
	iowrite32(WORDS_PER_PAGE - 1, card->regs + ES_DAC1_SIZE);
	iowrite32(0xffff, card->regs + ES_DAC1_COUNT);
	iowrite32(SCTL_DAC1_S16 | SCTL_DAC2_S16 | SCTL_DAC2_END, card->regs + ES_SCTL);
	iowrite32(CONTROL_DIV | CONTROL_DAC2 | CONTROL_DAC1_44K | CONTROL_DAC1,
		  card->regs + ES_CONTROL);
	msleep(300);
	pr_info("a fault at %#x is expected\n", SILENCE_IOVA);
	iommu_unmap(card->domain, SILENCE_IOVA, SZ_4K);
	__free_page(card->silence);
	card->silence = NULL;
	msleep(300);
	iowrite32(CONTROL_DIV | CONTROL_DAC2, card->regs + ES_CONTROL);
	return 0;
}

static int cmd_stop(struct card *card)
{
	if (!card->domain || card->ser)
		return -EINVAL;
	iowrite32(0, card->regs + ES_CONTROL);
	msleep(100);
	card_free(card);
	return 0;
}

static int cmd_keep_master(struct card *card)
{
	if (!card->kept)
		pci_keep_master(card->pdev);
	card->kept = true;
	return 0;
}

static int break_page_table(struct card *card)
{
	pt_iommu_unpreserve(iommupt_from_domain(card->domain));
	return 0;
}

/* What a damaged record can say. The record of the first card is the first one. */
static int break_record(const char *what)
{
	struct kho_iommu_ser *ser = NULL;
	struct iommu_devices_ser *devices;

	ser = iommu_preserved_ser();
	if (!ser)
		return -ENOENT;
	devices = phys_to_virt(ser->devices_phys);
	if (!strcmp(what, "record"))
		devices->devices[0].did ^= 1;
	else if (!strcmp(what, "unit"))
		devices->devices[0].unit_phys += SZ_4K;
	else if (!strcmp(what, "gone"))
		devices->devices[0].rid ^= 8;
	else if (!strcmp(what, "other"))
		devices->devices[0].device ^= 1;
	else if (!strcmp(what, "version"))
		ser->version++;
	else if (!strcmp(what, "list"))
		devices->nr = 0x10000;
	else if (!strcmp(what, "hash"))
		devices->devices[0].table.hash++;
	else if (!strcmp(what, "width"))
		devices->devices[0].table.max_vasz_lg2 -= 9;
	else if (!strcmp(what, "exchange") && devices->nr == 2)
		swap(devices->devices[0].table, devices->devices[1].table);
	else
		return -EINVAL;
	return 0;
}

static int cmd_break(struct card *card, const char *what)
{
	struct device_domain_info *info = dev_iommu_priv_get(&card->pdev->dev);
	struct intel_iommu *iommu = info->iommu;
	struct context_entry *context;

	if (!card->ser)
		return -EINVAL;
	context = iommu_context_addr(iommu, info->bus, info->devfn, 0);
	if (!strcmp(what, "bus-master"))
		pci_unkeep_master(card->pdev);
	else if (!strcmp(what, "translation"))
		iommu->preserved = NULL;
	else if (!strcmp(what, "tables"))
		return break_page_table(card);
	else if (!strcmp(what, "root"))
		iommu_unpreserve_pages(iommu->root_entry);
	else if (!strcmp(what, "context"))
		context->lo ^= SZ_4K;
	else
		return break_record(what);
	return 0;
}

static int do_command(struct card *card, const char *cmd)
{
	static const struct {
		const char *name;
		int (*run)(struct card *card);
	} commands[] = {
		{ "start", cmd_start },
		{ "many", cmd_many },
		{ "few", cmd_few },
		{ "unpreserve", cmd_unpreserve },
		{ "frozen", cmd_frozen },
		{ "keep-master", cmd_keep_master },
		{ "restore", cmd_restore },
		{ "move", cmd_move },
		{ "fault", cmd_fault },
		{ "stop", cmd_stop },
	};
	unsigned int skip;

	for (unsigned int i = 0; i < ARRAY_SIZE(commands); i++) {
		if (!strcmp(cmd, commands[i].name))
			return commands[i].run(card);
	}
	if (!strcmp(cmd, "preserve"))
		return cmd_preserve(card, NR_PAGES);
	if (sscanf(cmd, "preserve %u", &skip) == 1)
		return cmd_preserve(card, skip);
	if (str_has_prefix(cmd, "break "))
		return cmd_break(card, cmd + strlen("break "));
	return -EINVAL;
}

/* CARD COMMAND */
static ssize_t command_write(struct file *file, const char __user *buf,
			     size_t count, loff_t *pos)
{
	char text[32], *cmd;
	unsigned int i;
	int ret;

	if (count >= sizeof(text))
		return -EINVAL;
	if (copy_from_user(text, buf, count))
		return -EFAULT;
	text[count] = '\0';
	cmd = strim(text);
	i = cmd[0] - '0';
	if (i >= NR_CARDS || cmd[1] != ' ')
		return -EINVAL;
	if (!cards[i].pdev)
		return -ENODEV;
	ret = do_command(&cards[i], cmd + 2);
	return ret ?: count;
}

static const struct file_operations command_fops = {
	.owner	= THIS_MODULE,
	.write	= command_write,
	.open	= simple_open,
};

static int card_probe(struct pci_dev *pdev, const struct pci_device_id *id)
{
	struct card *card;
	int ret;

	for (card = cards; card != cards + NR_CARDS && card->pdev; card++)
		;
	if (card == cards + NR_CARDS)
		return -ENOSPC;
	ret = pcim_enable_device(pdev);
	if (ret)
		return ret;
	card->regs = pcim_iomap_region(pdev, 0, KBUILD_MODNAME);
	if (IS_ERR(card->regs))
		return PTR_ERR(card->regs);
	pci_set_master(pdev);
	snprintf(card->subtree, sizeof(card->subtree), SUBTREE "-%td", card - cards);
	card->pdev = pdev;
	return 0;
}

/* Without a remove function: the card would go on. And the card is not stopped. */
static struct pci_driver card_driver = {
	.name			= KBUILD_MODNAME,
	.id_table		= card_ids,
	.probe			= card_probe,
	.driver_managed_dma	= true,
	.driver.suppress_bind_attrs = true,
};

static int __init card_init(void)
{
	struct dentry *dir = debugfs_create_dir("iommu_liveupdate_test", NULL);

	debugfs_create_file("command", 0200, dir, NULL, &command_fops);
	return pci_register_driver(&card_driver);
}
device_initcall(card_init);
