-- Whether anything can be written now: a full memory or disk, or a replica, refuses.
return redis.call('SET', KEYS[1], '1', 'PX', 60000)
