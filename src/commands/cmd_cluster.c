/* cmd_cluster.c -- CLUSTER, READONLY, READWRITE and ASKING of a server that is in no cluster.
 * SPDX-License-Identifier: BSD-3-Clause
 *
 * WHY  Clients and redis-benchmark ask CLUSTER NODES or CLUSTER SLOTS to find out, and take this
 *      error for "standalone". The rows are whole: ACL rules, COMMAND INFO and COMMAND GETKEYS know
 *      them; arity is checked first, as in Redis. */
#include "commands/commands.h"

/* HELP, too, as in Redis. */
static void cmd_no_cluster(struct call *c)
{
    reply_error(c, "ERR This instance has cluster support disabled");
}

#define TOPOLOGY (CMD_ADMIN | CMD_STALE | CMD_NO_ASYNC_LOADING)
#define SUB(word, args, fl) \
    .name = (word), .proc = cmd_no_cluster, .arity = (args), .flags = (fl), .group = "cluster"
#define NODES_N "O(N) where N is the total number of Cluster nodes"
#define SLOTS_N "O(N) where N is the total number of hash slot arguments"
#define RANGES_N \
    "O(N) where N is the total number of the slots between the start slot and end slot arguments."
#define RANGES   "start-slot_end-slot=<start-slot:int end-slot:int>..."
#define VARIABLE "nondeterministic_output"

static const struct command cluster_sub[] = {
    { SUB("addslots", -3, TOPOLOGY), .since = "3.0.0", .complexity = SLOTS_N,
      .summary = "Assign new hash slots to receiving node", .syntax = "slot:int..." },
    { SUB("addslotsrange", -4, TOPOLOGY), .since = "7.0.0", .complexity = RANGES_N,
      .summary = "Assign new hash slots to receiving node", .syntax = RANGES },
    { SUB("bumpepoch", 2, TOPOLOGY), .since = "3.0.0", .complexity = "O(1)",
      .summary = "Advance the cluster config epoch", .tips = VARIABLE },
    { SUB("count-failure-reports", 3, CMD_ADMIN | CMD_STALE), .since = "3.0.0",
      .complexity = "O(N) where N is the number of failure reports",
      .summary = "Return the number of failure reports active for a given node",
      .syntax = "node-id", .tips = VARIABLE },
    { SUB("countkeysinslot", 3, CMD_STALE), .since = "3.0.0", .complexity = "O(1)",
      .summary = "Return the number of local keys in the specified hash slot",
      .syntax = "slot:int" },
    { SUB("delslots", -3, TOPOLOGY), .since = "3.0.0", .complexity = SLOTS_N,
      .summary = "Set hash slots as unbound in receiving node", .syntax = "slot:int..." },
    { SUB("delslotsrange", -4, TOPOLOGY), .since = "7.0.0", .complexity = RANGES_N,
      .summary = "Set hash slots as unbound in receiving node", .syntax = RANGES },
    { SUB("failover", -2, TOPOLOGY), .since = "3.0.0", .complexity = "O(1)",
      .summary = "Forces a replica to perform a manual failover of its master.",
      .syntax = "[options=<FORCE|TAKEOVER>]" },
    { SUB("flushslots", 2, TOPOLOGY), .since = "3.0.0", .complexity = "O(1)",
      .summary = "Delete a node's own slots information" },
    { SUB("forget", 3, TOPOLOGY), .since = "3.0.0", .complexity = "O(1)",
      .summary = "Remove a node from the nodes table", .syntax = "node-id" },
    { SUB("getkeysinslot", 4, CMD_STALE), .since = "3.0.0",
      .complexity = "O(log(N)) where N is the number of requested keys",
      .summary = "Return local key names in the specified hash slot",
      .syntax = "slot:int count:int", .tips = VARIABLE },
    { SUB("help", 2, CMD_LOADING | CMD_STALE), .since = "5.0.0", .complexity = "O(1)",
      .summary = "Show helpful text about the different subcommands" },
    { SUB("info", 2, CMD_STALE), .since = "3.0.0", .complexity = "O(1)",
      .summary = "Provides info about Redis Cluster node state", .tips = VARIABLE },
    { SUB("keyslot", 3, CMD_STALE), .since = "3.0.0",
      .complexity = "O(N) where N is the number of bytes in the key",
      .summary = "Returns the hash slot of the specified key", .syntax = "key:string" },
    { SUB("links", 2, CMD_STALE), .since = "7.0.0", .complexity = NODES_N,
      .summary = "Returns a list of all TCP links to and from peer nodes in cluster",
      .tips = VARIABLE },
    { SUB("meet", -4, TOPOLOGY), .since = "3.0.0", .complexity = "O(1)",
      .summary = "Force a node cluster to handshake with another node",
      .syntax = "ip port:int [cluster_bus_port:int]@4.0.0",
      .history = "4.0.0:Added the optional `cluster_bus_port` argument." },
    { SUB("myid", 2, CMD_STALE), .since = "3.0.0", .complexity = "O(1)",
      .summary = "Return the node id" },
    { SUB("myshardid", 2, CMD_LOADING | CMD_STALE), .since = "7.2.0", .complexity = "O(1)",
      .summary = "Returns the shard ID of a node.", .tips = VARIABLE },
    { SUB("nodes", 2, CMD_STALE), .since = "3.0.0", .complexity = NODES_N,
      .summary = "Get Cluster config for the node", .tips = VARIABLE },
    { SUB("replicas", 3, CMD_ADMIN | CMD_STALE), .since = "5.0.0", .complexity = "O(1)",
      .summary = "List replica nodes of the specified master node", .syntax = "node-id",
      .tips = VARIABLE },
    { SUB("replicate", 3, TOPOLOGY), .since = "3.0.0", .complexity = "O(1)",
      .summary = "Reconfigure a node as a replica of the specified master node",
      .syntax = "node-id" },
    { SUB("reset", -2, CMD_ADMIN | CMD_STALE | CMD_NOSCRIPT), .since = "3.0.0",
      .complexity = "O(N) where N is the number of known nodes. The command may execute a FLUSHALL "
                    "as a side effect.",
      .summary = "Reset a Redis Cluster node", .syntax = "[hard_soft=<HARD|SOFT>]" },
    { SUB("saveconfig", 2, TOPOLOGY), .since = "3.0.0", .complexity = "O(1)",
      .summary = "Forces the node to save cluster state on disk" },
    { SUB("set-config-epoch", 3, TOPOLOGY), .since = "3.0.0", .complexity = "O(1)",
      .summary = "Set the configuration epoch in a new node", .syntax = "config-epoch:int" },
    { SUB("setslot", -4, TOPOLOGY), .since = "3.0.0", .complexity = "O(1)",
      .summary = "Bind a hash slot to a specific node",
      .syntax = "slot:int subcommand=<IMPORTING node-id|MIGRATING node-id|NODE node-id|STABLE>" },
    { SUB("shards", 2, CMD_STALE), .since = "7.0.0",
      .complexity = "O(N) where N is the total number of cluster nodes",
      .summary = "Get array of cluster slots to node mappings", .tips = VARIABLE },
    { SUB("slaves", 3, CMD_ADMIN | CMD_STALE), .since = "3.0.0", .complexity = "O(1)",
      .summary = "List replica nodes of the specified master node", .syntax = "node-id",
      .tips = VARIABLE, .deprecated_since = "5.0.0", .replaced_by = "`CLUSTER REPLICAS`" },
    { SUB("slot-stats", -4, CMD_LOADING | CMD_STALE), .since = "8.2.0",
      .complexity = "O(N) where N is the total number of slots based on arguments. O(N*log(N)) "
                    "with ORDERBY subcommand.",
      .summary = "Return an array of slot usage statistics for slots assigned to the current node.",
      .syntax = "filter=<SLOTSRANGE slotsrange=<start-slot:int end-slot:int>|ORDERBY "
                "orderby=<metric [LIMIT limit:int] [order=<ASC|DESC>]>>",
      .tips = VARIABLE ",request_policy:all_shards" },
    { SUB("slots", 2, CMD_STALE), .since = "3.0.0", .complexity = NODES_N,
      .summary = "Get array of Cluster slot to node mappings", .tips = VARIABLE,
      .deprecated_since = "7.0.0", .replaced_by = "`CLUSTER SHARDS`",
      .history = "4.0.0:Added node IDs.|7.0.0:Added additional networking metadata field." },
    { .name = NULL },
};

const struct command cluster_commands[] = {
    { .name = "cluster",
      .arity = -2,
      .sub = cluster_sub,
      .group = "cluster",
      .since = "3.0.0",
      .complexity = "Depends on subcommand.",
      .summary = "A container for cluster commands" },
    { SUB("asking", 1, CMD_FAST), .acl = ACL_CONNECTION, .since = "3.0.0", .complexity = "O(1)",
      .summary = "Sent by cluster clients after an -ASK redirect" },
    { SUB("readonly", 1, CMD_FAST | CMD_LOADING | CMD_STALE), .acl = ACL_CONNECTION,
      .since = "3.0.0", .complexity = "O(1)",
      .summary = "Enables read queries for a connection to a cluster replica node" },
    { SUB("readwrite", 1, CMD_FAST | CMD_LOADING | CMD_STALE), .acl = ACL_CONNECTION,
      .since = "3.0.0", .complexity = "O(1)",
      .summary = "Disables read queries for a connection to a cluster replica node" },
    { .name = NULL },
};
