-- Glance keeps the records of deleted images, so their IDs cannot be reused. This deletes the record of the image @id.
START TRANSACTION;
DELETE FROM image_members WHERE image_id = @id;
DELETE FROM image_tags WHERE image_id = @id;
DELETE FROM image_properties WHERE image_id = @id;
DELETE FROM image_locations WHERE image_id = @id;
DELETE FROM images WHERE id = @id AND deleted;
COMMIT;
