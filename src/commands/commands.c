/* commands.c -- The list of all command families.
 * SPDX-License-Identifier: BSD-3-Clause */
#include "commands/commands.h"

/* One per line, so that two changes meet less often. */
/* clang-format off */
const struct command *const command_families[] = {
    string_commands,
    string_if_commands,
    lcs_commands,
    bitmap_commands,
    bitfield_commands,
    hll_commands,
    geo_commands,
    geo_search_commands,
    generic_commands,
    expire_commands,
    keyspace_commands,
    list_commands,
    list_block_commands,
    set_commands,
    set_random_commands,
    set_ops_commands,
    hash_commands,
    hash_random_commands,
    hash_expire_commands,
    hash_ex_commands,
    sort_commands,
    zset_commands,
    zset_range_commands,
    zset_pop_commands,
    zset_store_commands,
    stream_commands,
    stream_read_commands,
    stream_group_commands,
    stream_claim_commands,
    stream_info_commands,
    stream_delex_commands,
    dump_commands,
    cluster_commands,
    NULL,
};
/* clang-format on */
