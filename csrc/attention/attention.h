// Attention of a packed batch of tree rows over paged keys and values.
#pragma once

#include "attention/plan.h"
#include "attention/scratch.h"
#include "attention/types.h"

namespace treeward {

/// Copies the keys and values of the rows ([n_rows, kv_heads, head_dim]) into their slots. Rows
/// whose append slot is -1 are skipped. Slots must differ. InvalidArgument names what is wrong.
void append(const Plan& plan, const KvLayer& layer, ConstRows keys, ConstRows values);

/// The part of append() that concerns one row, without its checks (check.h).
void append_row(const Plan& plan, const KvLayer& layer, const ConstRows& keys,
                const ConstRows& values, int64_t row);

/// out[n_rows, q_heads, head_dim] = softmax(mask(cap(query . key * scale))) . value for each row
/// over the keys of its path, in fp32. q_heads is a multiple of kv_heads, and head h reads
/// key-value head h / (q_heads / kv_heads). A row that sees no key gets zeros.
///
/// The result is the same to the bit for any number of threads and any grouping of rows into
/// items: a (row, head, chunk) is computed by one instruction sequence, which depends only on the
/// keys that the row sees, and chunks are merged in the order of the plan.
/// InvalidArgument names what is wrong; nothing is written then.
void attend(const Plan& plan, const KvLayer& layer, ConstRows query, int32_t q_heads, Rows out,
            const AttentionParams& params, AttentionScratch& scratch);

}  // namespace treeward
