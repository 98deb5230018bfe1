// Adds the functions to @perses-dev/plugin-system that later became a part of @perses-dev/components.
export * from './node_modules/@perses-dev/plugin-system/dist/index.js';
export { getSubmitText, getTitleAction } from '@perses-dev/components';
