-- KEYS prefix
-- Returns what the live workers announced, in the order in which they came.
-- include _workers
return live_workers(KEYS[1])
