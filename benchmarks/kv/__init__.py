"""Fork, match, insert and evict on the span tree, beside radix trees of other engines."""
