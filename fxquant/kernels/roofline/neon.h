// The loop of the NEON ISAs: 16 accumulators hide a latency of 4 cycles at 4 instructions a cycle.
#pragma once
#include "roofline/roofline.h"

// `instruction`: a literal, of a product of v0 and v1 that is added to its first operand.
#define FXQUANT_PEAK_STEP(instruction)                                                                              \
  asm volatile(".irp acc,2,3,4,5,6,7,16,17,18,19,20,21,22,23,24,25\n\t" instruction                                 \
               " v\\acc\\().4s, v0.16b, v1.16b\n\t"                                                                 \
               ".endr"                                                                                              \
               :                                                                                                    \
               :                                                                                                    \
               : "v2", "v3", "v4", "v5", "v6", "v7", "v16", "v17", "v18", "v19", "v20", "v21", "v22", "v23", "v24", \
                 "v25")
