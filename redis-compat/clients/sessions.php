<?php
// sessions.php -- PHP sessions through php-redis, with locking, each request a process of its own; and the client itself.
// SPDX-License-Identifier: BSD-3-Clause
$port = (int)($argv[1] ?? getenv("KV_PORT"));
if (getenv("KV_REQUEST")) {
    session_id("scenario");
    session_start();
    $_SESSION["visits"] = ($_SESSION["visits"] ?? 0) + 1;
    usleep(2000);
    echo $_SESSION["visits"];
    session_write_close();
    exit(0);
}
$checks = 0;
function same($got, $want, $what)
{
    global $checks;
    if ($got !== $want) {
        echo "failed $what: got " . var_export($got, true) . ", wanted " . var_export($want, true) . "\n";
        exit(1);
    }
    $checks++;
}
function requests($n)
{
    global $port;
    $save = "tcp://127.0.0.1:$port?prefix=SESSION:";
    $all = [];
    for ($i = 0; $i < $n; $i++) {
        $all[] = proc_open([PHP_BINARY, "-d", "session.save_handler=redis", "-d", "session.save_path=\"$save\"", "-d",
            "redis.session.locking_enabled=1", "-d", "redis.session.lock_wait_time=5000", "-d", "redis.session.lock_retries=2000", __FILE__],
            [1 => ["pipe", "w"]], $pipes, null, ["KV_REQUEST" => "1", "KV_PORT" => "$port"]);
        $out[] = $pipes[1];
    }
    $visits = array_map(fn($pipe) => (int)stream_get_contents($pipe), $out);
    array_map("proc_close", $all);
    sort($visits);
    return $visits;
}
$redis = new Redis();
$redis->connect("127.0.0.1", $port);
$redis->flushAll();
same($redis->mSet(["a" => "1", "b" => "2"]), true, "mSet");
same($redis->mGet(["a", "b", "nothing"]), ["1", "2", false], "mGet");
same($redis->hMSet("h", ["x" => 1]), true, "hMSet");
same($redis->zAdd("z", 1.5, "one"), 1, "zAdd");
same($redis->zRange("z", 0, -1, true), ["one" => 1.5], "zRange");
same($redis->multi()->incr("n")->incr("n")->exec(), [1, 2], "multi");
same($redis->eval("return {KEYS[1], ARGV[1]}", ["k", "v"], 1), ["k", "v"], "eval");
same(requests(1), [1], "the first visit");
same(requests(8), [2, 3, 4, 5, 6, 7, 8, 9], "eight at once, one after the other by the lock");
same($redis->ttl("SESSION:scenario") > 0, true, "a session ends");
echo "kill\n";
fgets(STDIN);
same(requests(1), [10], "the visit after the crash");
echo "ok $checks\n";
