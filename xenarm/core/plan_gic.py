"""Which version of the interrupt controller a domain is to see, as its node asks for it."""

from freestanding import fn, u32, u64
from xenarm.config import CONFIG
from xenarm.core.plan_state import Plan, refuse
from xenarm.devicetree.reader import Fdt, fdt_mentions, fdt_property
from xenarm.gic.controller import GIC, gic_is_v3

__all__ = ["plan_gic"]


@fn
def plan_gic(fdt: Fdt, plan: Plan) -> bool:
    """Ours, with the meaning of `gic_version` in Xen's xl.cfg: 2 or 3. Without it the machine's."""
    plan.gic_v3 = gic_is_v3()
    plan.special = fdt_mentions(fdt, plan.node, b"xen")
    if not plan.special:
        return True
    present, value = fdt_property(fdt, plan.node, b"xenarm,gic-version")
    if not present:
        return True
    version = value.load_be32(0) if len(value) == 4 else u32(0)
    if version != 2 and version != 3:
        return refuse(fdt, plan, plan.node, b"xenarm,gic-version is neither 2 nor 3", b"give one of them in one cell, or leave it out")
    if version == 3 and not plan.gic_v3:
        return refuse(fdt, plan, plan.node, b"xenarm,gic-version asks for a GICv3, and the machine has a GICv2", b"give 2, or leave it out")
    if version == 2 and plan.gic_v3:
        return plan_legacy(fdt, plan)
    return True


@fn
def plan_legacy(fdt: Fdt, plan: Plan) -> bool:
    """A GICv2 on the machine's GICv3."""
    if not CONFIG.GICV2_ON_V3:
        return refuse(
            fdt, plan, plan.node, b"xenarm,gic-version asks for a GICv2 beside the machine's GICv3, which this image has not", b"build it with CONFIG_GICV2_ON_V3, or leave it out"
        )
    else:
        return plan_legacy_there(fdt, plan)


@fn
def plan_legacy_there(fdt: Fdt, plan: Plan) -> bool:
    if u64(GIC.gicv) == 0:
        return refuse(
            fdt, plan, plan.node, b"xenarm,gic-version asks for a GICv2, and the machine's GICv3 has no CPU interface for one: no GICV in its reg", b"give 3, or leave it out"
        )
    if not GIC.legacy:
        return refuse(
            fdt, plan, plan.node, b"xenarm,gic-version asks for a GICv2, and the CPUs have a GICv3's alone: ICC_SRE_EL1.SRE is fixed", b"give 3, or leave it out"
        )
    plan.gic_v3 = False
    return True
