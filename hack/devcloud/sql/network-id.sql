-- Changes the ID of the network @old, which has no ports or subnets yet, to @new.
SET FOREIGN_KEY_CHECKS = 0;
START TRANSACTION;
UPDATE networks SET id = @new WHERE id = @old;
UPDATE externalnetworks SET network_id = @new WHERE network_id = @old;
UPDATE networksegments SET network_id = @new WHERE network_id = @old;
UPDATE networksecuritybindings SET network_id = @new WHERE network_id = @old;
UPDATE networkdnsdomains SET network_id = @new WHERE network_id = @old;
UPDATE networkdhcpagentbindings SET network_id = @new WHERE network_id = @old;
UPDATE networkrbacs SET object_id = @new WHERE object_id = @old;
COMMIT;
