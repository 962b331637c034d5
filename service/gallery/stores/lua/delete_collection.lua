#!lua flags=allow-oom
-- include _delete_collection
-- include _catalog
-- Delete a collection. KEYS: the prefix. ARGV: id, and of the catalog ('' for none): name, old value, new value.
-- Returns 0 when there is no such collection or the catalog changed.
if not is_catalog(KEYS[1], ARGV[2], ARGV[3]) or delete_collection(KEYS[1], ARGV[1]) == 0 then return 0 end
set_catalog(KEYS[1], ARGV[2], ARGV[4])
return 1
