// A canvas that knows how many device pixels it has. Whoever draws on it works in CSS pixels.

export class Paper {
  constructor(canvas) {
    this.canvas = canvas;
    this.context = canvas.getContext("2d");
    this.width = 0;
    this.height = 0;
    this.ratio = 1;
  }

  // True if the size changed, and with it everything drawn is gone.
  fit() {
    const { clientWidth: width, clientHeight: height } = this.canvas;
    const ratio = window.devicePixelRatio || 1;
    if (width === this.width && height === this.height && ratio === this.ratio) return false;
    Object.assign(this, { width, height, ratio });
    this.canvas.width = Math.round(width * ratio);
    this.canvas.height = Math.round(height * ratio);
    this.context.setTransform(ratio, 0, 0, ratio, 0, 0);
    return true;
  }

  clear() {
    this.context.clearRect(0, 0, this.width, this.height);
  }
}

// The colours and sizes of the style sheet, for drawing.
export function palette() {
  const style = getComputedStyle(document.documentElement);
  const colours = {};
  for (const name of ["text", "soft", "faint", "grid", "line", "raised", "purple", "ground", "panel"]) {
    colours[name] = style.getPropertyValue(`--${name}`).trim();
  }
  for (const name of ["delta", "speed", "throttle", "brake", "steering", "gear", "rpm"]) {
    colours[name] = style.getPropertyValue(`--${name}`).trim();
  }
  colours.lap = style.getPropertyValue("--lap-line").trim();
  colours.purpleGround = style.getPropertyValue("--purple-ground").trim();
  colours.otherLap = style.getPropertyValue("--other-lap").trim();
  return { colours, rem: parseFloat(style.fontSize), family: style.fontFamily };
}
