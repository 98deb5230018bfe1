-- Glance keeps deleted images; while it does, their IDs cannot be used again. This forgets the deleted image @id.
START TRANSACTION;
DELETE FROM image_members WHERE image_id = @id;
DELETE FROM image_tags WHERE image_id = @id;
DELETE FROM image_properties WHERE image_id = @id;
DELETE FROM image_locations WHERE image_id = @id;
DELETE FROM images WHERE id = @id AND deleted;
COMMIT;
