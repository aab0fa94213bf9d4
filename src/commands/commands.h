/* commands.h -- The row tables of every command family; server/ registers them with exec.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * A family's file ends in its table: one row per command (struct command of exec/exec.h), closed by
 * a row whose name is NULL. Adding a table takes its declaration here and its line in commands.c;
 * adding a command takes its handler and its row. README.md tells how rows and handlers are
 * written. */
#ifndef COMMANDS_COMMANDS_H
#define COMMANDS_COMMANDS_H

#include "exec/exec.h"

extern const struct command string_commands[];       /* cmd_string.c */
extern const struct command string_if_commands[];    /* cmd_string_if.c */
extern const struct command lcs_commands[];          /* cmd_string_lcs.c */
extern const struct command bitmap_commands[];       /* cmd_bitmap.c */
extern const struct command bitfield_commands[];     /* cmd_bitfield.c */
extern const struct command hll_commands[];          /* cmd_hll.c */
extern const struct command geo_commands[];          /* cmd_geo.c */
extern const struct command geo_search_commands[];   /* cmd_geo_search.c */
extern const struct command generic_commands[];      /* cmd_generic.c */
extern const struct command dump_commands[];         /* cmd_dump.c */
extern const struct command expire_commands[];       /* cmd_expire.c */
extern const struct command keyspace_commands[];     /* cmd_keyspace.c */
extern const struct command list_commands[];         /* cmd_list.c */
extern const struct command list_block_commands[];   /* cmd_list_block.c */
extern const struct command set_commands[];          /* cmd_set.c */
extern const struct command set_random_commands[];   /* cmd_set_random.c */
extern const struct command set_ops_commands[];      /* cmd_set_ops.c */
extern const struct command hash_commands[];         /* cmd_hash.c */
extern const struct command hash_random_commands[];  /* cmd_hash_random.c */
extern const struct command hash_expire_commands[];  /* cmd_hash_expire.c */
extern const struct command hash_ex_commands[];      /* cmd_hash_ex.c */
extern const struct command sort_commands[];         /* cmd_sort.c */
extern const struct command zset_commands[];         /* cmd_zset.c */
extern const struct command zset_range_commands[];   /* cmd_zset_range.c */
extern const struct command zset_pop_commands[];     /* cmd_zset_pop.c */
extern const struct command zset_store_commands[];   /* cmd_zset_store.c */
extern const struct command stream_commands[];       /* cmd_stream.c */
extern const struct command stream_read_commands[];  /* cmd_stream_read.c */
extern const struct command stream_group_commands[]; /* cmd_stream_group.c */
extern const struct command stream_claim_commands[]; /* cmd_stream_claim.c */
extern const struct command stream_info_commands[];  /* cmd_stream_info.c */
extern const struct command stream_delex_commands[]; /* cmd_stream_delex.c */
extern const struct command cluster_commands[];      /* cmd_cluster.c */

/* All of the above, closed by NULL. */
extern const struct command *const command_families[];
#endif
