// Draws once per animation frame. An exception costs the frame that it is in: its words are reported, and the next frame is drawn.

export class Animation {
  #trouble = "";

  // draw(now); onTrouble(words): once when drawing fails otherwise than before, and with "" when it works again.
  // request(callback): of the browser, which calls it before it paints.
  constructor(draw, onTrouble, request = (callback) => requestAnimationFrame(callback)) {
    this.draw = draw;
    this.onTrouble = onTrouble;
    this.request = request;
  }

  start() {
    this.request((now) => this.#frame(now));
  }

  // The next frame is asked for first: nothing that follows can end the animation.
  #frame(now) {
    this.start();
    const trouble = this.#attempt(now);
    if (trouble === this.#trouble) return;
    this.#trouble = trouble;
    this.onTrouble(trouble);
  }

  #attempt(now) {
    try {
      this.draw(now);
      return "";
    } catch (error) {
      const words = error instanceof Error ? error.message : String(error);
      if (words !== this.#trouble) console.error(error);
      return words || "an exception without words";
    }
  }
}
