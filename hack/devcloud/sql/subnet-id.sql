-- Changes the ID of the subnet @old, which has no ports or routes yet, to @new.
SET FOREIGN_KEY_CHECKS = 0;
START TRANSACTION;
UPDATE subnets SET id = @new WHERE id = @old;
UPDATE ipallocationpools SET subnet_id = @new WHERE subnet_id = @old;
UPDATE dnsnameservers SET subnet_id = @new WHERE subnet_id = @old;
UPDATE ipamsubnets SET neutron_subnet_id = @new WHERE neutron_subnet_id = @old;
UPDATE network_subnet_lock SET subnet_id = @new WHERE subnet_id = @old;
COMMIT;
