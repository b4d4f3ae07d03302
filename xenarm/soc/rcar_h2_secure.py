"""R-Car H2's two clusters: what a CPU of its does out of reset, in secure state, before its caches are on.

The firmware has set up the second-level cache of the cluster that boots; a Cortex-A15's needs other latencies than at reset (L2CTLR: data RAM 4 cycles
and set-up 1, tag RAM 3; L2ACTLR bit 3; as U-Boot's board/renesas/lager/lowlevel_init.S). Then snoops and DVM messages for both at the CCI-400, whose
registers answer secure state alone (DDI 0470, 3.3: slave interfaces 3 and 4, Snoop Control, Status). `arm32/head.py` has it on its way.
"""

from xenarm.arm32.registers import coprocessor

__all__ = ["TWO_CLUSTERS"]

L2CTLR = "p15, 1, r0, c9, c0, 2"
L2ACTLR = "p15, 1, r0, c15, c0, 0"
CCI = 0xF009_0000

TWO_CLUSTERS = f"""
    mrc {coprocessor("mpidr", "r0")}
    tst r0, #0xf00
    bne 2f
    mrc {L2CTLR}
    and r1, r0, #7
    cmp r1, #3
    beq 2f
    bic r0, r0, #0xe7
    orr r0, r0, #0xa3
    mcr {L2CTLR}
    mrc {L2ACTLR}
    orr r0, r0, #8
    mcr {L2ACTLR}
2:
    movw r2, #0
    movt r2, #{CCI >> 16:#x}
    add r3, r2, #0x4000
    ldr r0, [r3]
    orr r0, r0, #3
    str r0, [r3]
    add r3, r3, #0x1000
    ldr r0, [r3]
    orr r0, r0, #3
    str r0, [r3]
    dsb
3:  ldr r0, [r2, #0xc]
    tst r0, #1
    bne 3b
"""
