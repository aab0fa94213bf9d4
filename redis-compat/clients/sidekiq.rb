# sidekiq.rb -- Sidekiq: jobs, scheduled and retried ones, bulk; jobs outlive the server. Loaded by the scenario and by its worker process.
# SPDX-License-Identifier: BSD-3-Clause
require "sidekiq"
require "sidekiq/api"

PORT = Integer(ENV["KV_PORT"] || ARGV[0])
options = { url: "redis://localhost:#{PORT}/0", reconnect_attempts: 100, reconnect_delay: 0.05 }
Sidekiq.configure_client { |config| config.redis = options }
Sidekiq.configure_server do |config|
  config.redis = options
  config.options[:poll_interval_average] = 1
  config.logger.level = Logger::FATAL
end

class Note
  include Sidekiq::Worker
  sidekiq_options retry: 3
  sidekiq_retry_in { 0 }

  def perform(set, n)
    first = Sidekiq.redis { |r| r.set("tried:#{set}:#{n}", 1, nx: true) }
    raise "first attempt" if set == "retried" && first

    Sidekiq.redis { |r| r.sadd(set, n) }
  end
end

def count(set)
  Sidekiq.redis { |r| r.scard(set) }
end

$checks = 0
def wait_for(what)
  600.times do
    if yield
      $checks += 1
      return
    end
    sleep 0.1
  end
  raise "waited in vain for: #{what}"
end

def scenario
  Sidekiq.redis(&:flushall)
  worker = Process.spawn({ "KV_PORT" => PORT.to_s }, "sidekiq", "-q", "default", "-c", "4", "-r", File.expand_path(__FILE__), in: "/dev/null", out: "/dev/null", err: "/dev/null")
  Note.perform_async("plain", 1)
  Note.perform_in(1, "scheduled", 1)
  Note.perform_async("retried", 1)
  Sidekiq::Client.push_bulk("class" => Note, "args" => (1..500).map { |n| ["bulk", n] })
  wait_for("plain") { count("plain") == 1 }
  wait_for("bulk") { count("bulk") == 500 }
  wait_for("scheduled") { count("scheduled") == 1 }
  wait_for("retried") { count("retried") == 1 }
  (1..300).each { |n| Note.perform_async("survivors", n) }
  puts "kill"
  $stdout.flush
  $stdin.gets
  # A job that a worker had fetched when the server was killed is in the worker's hands, as with Redis: the others are in the queue.
  wait_for("survivors") { count("survivors") >= 300 - 4 && Sidekiq::Queue.new.size.zero? }
  puts "ok #{$checks}"
rescue StandardError => e
  puts "failed #{e.full_message(highlight: false)}"
  exit 1
ensure
  Process.kill("KILL", worker) && Process.wait(worker) if worker
end

scenario unless ENV["KV_PORT"]
