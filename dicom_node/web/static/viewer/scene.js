/**
 * CT and map drawn by niivue: three planes in one WebGL canvas, placed and framed by us.
 *
 * niivue draws and says where its pixels lie; all else (letters, cross-hair, outlines, mouse, keys) is ours and uses
 * what it says, so that a letter can only be wrong if the picture is.
 */

import { Tile } from "./planes.js";

const SLICE_TYPES = { axial: 0, coronal: 1, sagittal: 2 };
/** Which of niivue's axes (right, front, up) run across and up in each plane. */
const IN_PLANE = { 0: [0, 1], 1: [0, 2], 2: [1, 2] };
/** niivue's colour scale that starts at 0 and shows nothing below its least value. */
const HIDDEN_BELOW_LEAST = 2;
const MAP_COLOURS = "perfusion";
const SOFTWARE = /swiftshader|llvmpipe|softpipe|software|basic render/i;

const flipped = ([x, y, z]) => [-x, -y, z]; // LPS to RAS and back

export class Scene {
  constructor(canvas) {
    this.canvas = canvas;
    this.frames = {};
    this.viewer = new (framedViewer())({
      interactive: false,
      dragAndDropEnabled: false,
      isResizeCanvas: false,
      isOrientationTextVisible: false,
      isRadiologicalConvention: true,
      sagittalNoseLeft: true,
      crosshairWidth: 0,
      isColorbar: false,
      logLevel: "error",
      backColor: [0, 0, 0, 1],
    });
    this.viewer.frameOf = (type) => this.frames[type];
    this.isOpen = this.viewer.attachToCanvas(canvas, false).then(() => spareGradients(this.viewer));
  }

  /** The colours of the map over its range. */
  setColours(colours, range) {
    this.mostPercent = range[1];
    this.viewer.addColormap(MAP_COLOURS, colourTable(colours));
  }

  /** Show these volumes instead of those before; a map may be absent. */
  async show(ct, map, windowHu, threshold) {
    const images = [await image(ct, "ct.nii", { colormap: "gray", cal_min: windowHu[0], cal_max: windowHu[1] })];
    if (map) {
      const look = { colormap: MAP_COLOURS, cal_min: threshold, cal_max: this.mostPercent };
      images.push(await image(map, "map.nii", look));
      images[1].colormapType = HIDDEN_BELOW_LEAST;
    }
    [this.viewer.back, ...this.viewer.overlays] = images;
    this.viewer.volumes = images;
    this.viewer.updateGLVolume();
  }

  /** Whether the browser draws without a graphics processor. */
  get isSoftware() {
    const { gl } = this.viewer;
    const names = gl.getExtension("WEBGL_debug_renderer_info");
    return SOFTWARE.test(gl.getParameter(names ? names.UNMASKED_RENDERER_WEBGL : gl.RENDERER));
  }

  setWindow([from, to]) {
    this.setRange(0, from, to);
  }

  setThreshold(percent) {
    this.setRange(1, percent, this.mostPercent);
  }

  setRange(layer, least, most) {
    const volume = this.viewer.volumes[layer];
    if (!volume || (volume.cal_min === least && volume.cal_max === most)) return;
    [volume.cal_min, volume.cal_max] = [least, most];
    this.viewer.refreshLayers(volume, layer);
  }

  setOpacity(opacity) {
    this.viewer.overlayAlphaShader = opacity;
  }

  /**
   * Draw, and tell where everything is.
   *
   * @param {{plane: string, rect: number[], middle: number[], mmPerPixel: number}[]} tiles places in pixels of the
   *   canvas, and what is in the middle of each, LPS mm
   * @param {number[]} at the point that all planes go through, LPS mm
   * @returns {Tile[]}
   */
  draw(tiles, at) {
    const { width, height } = this.canvas;
    this.frames = {};
    for (const { plane, rect, middle, mmPerPixel } of tiles) {
      const type = SLICE_TYPES[plane];
      const frac = this.fractionOf(middle);
      this.frames[type] = { middle: IN_PLANE[type].map((axis) => frac[axis]), size: [rect[2], rect[3]].map((n) => n * mmPerPixel) };
    }
    this.viewer.scene.crosshairPos = this.fractionOf(at);
    this.viewer.setCustomLayout(
      tiles.map(({ plane, rect }) => ({
        sliceType: SLICE_TYPES[plane],
        position: [rect[0] / width, rect[1] / height, rect[2] / width, rect[3] / height],
      })),
    );
    return tiles.map(({ plane }, number) => this.tile(plane, number));
  }

  /** Where the pixels of a drawn plane lie, as niivue says; asked inside the plane, because its edge is not in it. */
  tile(plane, number) {
    const rect = this.viewer.screenSlices[number].leftTopWidthHeight;
    const [left, top, width, height] = rect;
    const position = (across, down) => {
      const [x, y] = [left + across * width, top + down * height];
      const frac = this.viewer.screenXY2TextureFrac(x, y, number, false);
      return flipped(this.viewer.frac2mm(frac, 0, true));
    };
    const [corner, right, below] = [position(0.25, 0.25), position(0.75, 0.25), position(0.25, 0.75)];
    const across = corner.map((start, k) => (right[k] - start) / (0.5 * width));
    const down = corner.map((start, k) => (below[k] - start) / (0.5 * height));
    const origin = corner.map((start, k) => start - 0.25 * (width * across[k] + height * down[k]));
    return new Tile(plane, rect, origin, across, down);
  }

  fractionOf(mm) {
    return Array.from(this.viewer.mm2frac(flipped(mm), 0, true));
  }
}

/** niivue, but what a tile shows is said by `frameOf`: its middle as a fraction of the volume, its size in mm. */
function framedViewer() {
  return class extends globalThis.niivue.Niivue {
    refreshLayers(volume, layer) {
      super.refreshLayers(volume, layer);
      this.gl.disable(this.gl.SCISSOR_TEST);
    }

    calculateWidthHeight(type, scale, width, height) {
      return [width, height];
    }

    screenFieldOfViewExtendedVox(type) {
      const field = super.screenFieldOfViewExtendedVox(type);
      const frame = this.frameOf(type);
      if (!frame) return field;
      for (const axis of [0, 1]) {
        const middle = field.mnMM[axis] + frame.middle[axis] * field.fovMM[axis];
        field.mnMM[axis] = middle - 0.5 * frame.size[axis];
        field.mxMM[axis] = middle + 0.5 * frame.size[axis];
        field.fovMM[axis] = frame.size[axis];
      }
      return field;
    }
  };
}

/**
 * niivue computes gradients of every new volume for its shaded view, which takes ten times as long as all else without a
 * graphics processor. Slices need none: their passes draw into an area of nothing.
 */
function spareGradients(viewer) {
  const { gl } = viewer;
  for (const shader of [viewer.blurShader, viewer.sobelFirstOrderShader]) {
    const { use } = shader;
    shader.use = (context) => {
      gl.enable(gl.SCISSOR_TEST);
      gl.scissor(0, 0, 0, 0);
      use.call(shader, context);
    };
  }
}

function image(volume, name, look) {
  return globalThis.niivue.NVImage.loadFromUrl({ url: name, name, buffer: volume.buffer, ...look });
}

function colourTable(colours) {
  const steps = colours.map((_, step) => step);
  return {
    R: colours.map(([red]) => red),
    G: colours.map(([, green]) => green),
    B: colours.map(([, , blue]) => blue),
    A: steps.map((step) => (step ? 255 : 0)), // outside the lungs nothing is drawn
    I: steps,
  };
}
