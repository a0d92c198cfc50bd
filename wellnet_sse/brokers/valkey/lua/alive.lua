-- Whether a holder's lease is not over.
return tonumber(redis.call('ZSCORE', KEYS[1], ARGV[2]) or '0') > now and 1 or 0
