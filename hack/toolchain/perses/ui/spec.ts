// Stands for @perses-dev/core, and for the parts of it that later became @perses-dev/client and @perses-dev/spec.
import { z } from 'zod';

export * from './core/src';
export { intervalToDuration } from 'date-fns';
export const annotationSpecSchema = z.object({}).passthrough();
export const buildAnnotationSpecSchema = () => annotationSpecSchema;
