"""A domain's kernel, of the kind that its magic says: an arm64 Image, or a zImage."""

from freestanding import Ptr, View, fn, u8, usize
from xenarm.arch import arch_runs_aarch32
from xenarm.config import CONFIG
from xenarm.core.kernel import KernelFault, KernelImage, kernel_check
from xenarm.core.plan_state import Plan, refuse
from xenarm.core.zimage import is_zimage, zimage_check
from xenarm.devicetree.reader import Fdt

__all__ = ["plan_kernel"]

MAPS_MEMORY = True

KERNEL = b"arm64 Image" if CONFIG.ARM64 else b"zImage"
NO_KERNEL = b"reg holds no %s: the magic at offset %s" % (KERNEL, b'56 is not "ARMd"' if CONFIG.ARM64 else b"36 is not 0x016f2818")
LOADABLE = b"an uncompressed arm64 Image or a zImage" if CONFIG.AARCH32_GUESTS else b"an uncompressed arm64 Image" if CONFIG.ARM64 else b"a zImage"
LOAD_KERNEL = b"load %s there" % LOADABLE


@fn
def damage(zimage: bool) -> View[u8]:
    if zimage:
        return b"reg holds a zImage with a start address, or with senseless sizes"
    return b"reg holds an arm64 Image with a senseless text_offset or image_size"


@fn
def refuse_kernel(fdt: Fdt, plan: Plan, fault: KernelFault, zimage: bool) -> bool:
    what: View[u8] = NO_KERNEL
    remedy: View[u8] = LOAD_KERNEL
    match fault:
        case KernelFault.SHORT:
            what = b"reg is shorter than a kernel's header"
            remedy = b"the module is cut: correct the size, or load it again"
        case KernelFault.CUT:
            what = b"reg is shorter than the kernel in it"
            remedy = b"the module is cut: correct the size, or load it again"
        case KernelFault.COMPRESSED:
            what = b"reg holds a gzip file"
            remedy = b"unpack the kernel first"
        case KernelFault.BIG_ENDIAN:
            what = b"reg holds a big-endian kernel"
            remedy = b"load a little-endian one"
        case KernelFault.BAD_OFFSET | KernelFault.BAD_SIZE:
            what = damage(zimage)
            remedy = b"the module is damaged: load it again"
        case KernelFault.BAD_MAGIC | KernelFault.NONE:
            pass
    return refuse(fdt, plan, plan.kernel.node, what, remedy)


@fn
def check(image: View[u8], zimage: bool) -> KernelImage:
    """One kind or the other, where there are both."""
    if CONFIG.ARM64 and not (CONFIG.AARCH32_GUESTS and zimage):
        return kernel_check(image)
    else:
        return zimage_check(image)


@fn
def plan_kernel(fdt: Fdt, plan: Plan) -> bool:
    file: View[u8] = Ptr[u8](usize(plan.kernel.base)).slice(usize(plan.kernel.size))
    zimage = not CONFIG.ARM64 or (CONFIG.AARCH32_GUESTS and is_zimage(file))
    image = check(file, zimage)
    if image.fault != KernelFault.NONE:
        return refuse_kernel(fdt, plan, image.fault, zimage)
    plan.text_offset = image.text_offset
    plan.kernel_room = image.size
    plan.aarch32 = CONFIG.AARCH32_GUESTS and zimage
    if plan.aarch32 and not arch_runs_aarch32():
        return refuse(fdt, plan, plan.kernel.node, b"reg holds a zImage, and this CPU has no AArch32 state for kernels (ID_AA64PFR0_EL1.EL1)", b"load an arm64 Image")
    return True
