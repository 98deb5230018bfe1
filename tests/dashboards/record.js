// Charts draw their text on a canvas. This keeps the text of each canvas in its property `texts`.
const { clearRect, fillText } = CanvasRenderingContext2D.prototype;
CanvasRenderingContext2D.prototype.clearRect = function (...args) {
  this.canvas.texts = [];
  return clearRect.apply(this, args);
};
CanvasRenderingContext2D.prototype.fillText = function (text, ...args) {
  (this.canvas.texts ??= []).push(text);
  return fillText.call(this, text, ...args);
};
